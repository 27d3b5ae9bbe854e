import numpy as np
import pandas as pd
import pytest

from rho2prop.evaluation.metrics import score, summarise


def test_scores_by_hand():
    result = score([1.0, 2.0, 3.0], [1.0, 2.0, 6.0])
    assert result["mae"] == pytest.approx(1.0)
    assert result["rmse"] == pytest.approx(np.sqrt(3.0))
    assert result["r2"] == pytest.approx(1 - 9 / 2)


def test_perfect_and_mean_predictions():
    truth = np.array([3.0, 5.0, 10.0])
    assert score(truth, truth) == {"r2": 1.0, "mae": 0.0, "rmse": 0.0}
    assert score(truth, np.full(3, truth.mean()))["r2"] == pytest.approx(0.0)


def test_r2_is_undefined_for_one_row():
    assert np.isnan(score([1.0], [1.0])["r2"])


@pytest.mark.parametrize(("truth", "predicted"), [([1.0, np.nan], [1.0, 1.0]), ([], []), ([1.0], [1.0, 2.0])])
def test_unusable_values_are_refused(truth, predicted):
    with pytest.raises(ValueError, check=lambda error: type(error) is ValueError):
        score(truth, predicted)


def test_summary_over_folds():
    rows = [
        dict(
            target="t",
            features="f",
            model="m",
            split="s",
            fold=str(i),
            n_train=8,
            n_test=2,
            r2=r2,
            mae=1,
            rmse=2,
        )
        for i, r2 in enumerate([0.8, 0.9, 1.0])
    ]
    summary = summarise(pd.DataFrame(rows)).iloc[0]
    assert summary["n_folds"] == 3
    assert summary["n_test"] == 6
    assert summary["r2_mean"] == pytest.approx(0.9)
    assert summary["r2_std"] == pytest.approx(0.1)
