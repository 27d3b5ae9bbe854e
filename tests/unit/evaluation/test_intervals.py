"""Conformal intervals: the right quantile, the stated coverage on held-out data, and no leak from the tested fold."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from standins.refusals import lacking, refused

from rho2prop.core.targets import TARGETS
from rho2prop.evaluation.final_models import judge_final_models
from rho2prop.evaluation.intervals import COLUMNS, POOLED, Calibration, calibrate, calibrations, evaluate_intervals

BULK, SHEAR, ENERGY = "bulk_modulus_gpa", "shear_modulus_gpa", "atomization_energy_ev_per_atom"


def proportional_errors(n=4000, seed=1):
    """Predictions from 1 to 400 GPa with errors of 10 %."""
    rng = np.random.default_rng(seed)
    predicted = np.exp(rng.uniform(0, 6, n))
    return predicted * (1 + 0.1 * rng.standard_normal(n)), predicted


def write_regression(folder, rows: pd.DataFrame, derived: pd.DataFrame | None = None):
    folder.mkdir(parents=True)
    summary = {
        "model": "lightgbm",
        "features": "magpie",
        "blocks": [],
        "split": "random",
        "targets": sorted(set(rows["target"])),
    }
    (folder / "targets.json").write_text(json.dumps(summary))
    rows.to_csv(folder / "predictions.csv", index=False)
    (rows[:0] if derived is None else derived).to_csv(folder / "predictions_from_kg.csv", index=False)
    for end in ("", "_from_kg"):  # the validation parts of such a run look the same
        (folder / f"validation{end}.csv").write_bytes((folder / f"predictions{end}.csv").read_bytes())
    return folder


def write_final(folder, rows: pd.DataFrame, derived: pd.DataFrame | None = None):
    """A final model: validation rows and no test part."""
    write_regression(folder, rows, derived)
    for end in ("", "_from_kg"):
        rows[:0].to_csv(folder / f"predictions{end}.csv", index=False)
    return folder


def made_rows(n=300, n_folds=3, target=BULK, width=10.0, seed=0):
    rng = np.random.default_rng(seed)
    predicted = rng.uniform(50, 250, n)
    return pd.DataFrame(
        {
            "fold": [str(i % n_folds) for i in range(n)],
            "material_id": [f"m{i}" for i in range(n)],
            "target": target,
            "y_true": predicted + rng.uniform(-width, width, n),
            "y_pred": predicted,
        }
    )


def test_the_quantile_has_the_finite_sample_rank():
    calibration = Calibration(0.0, 1.0, np.arange(1.0, 10.0), False)
    assert calibration.quantile(0.9) == 9.0  # rank ceil(10 · 0.9) = 9 of 9
    assert calibration.quantile(0.5) == 5.0
    assert calibration.quantile(0.91) == math.inf  # rank 10 of 9: nine residuals cannot tell
    lower, upper = calibration.bounds(np.array([3.0]), 0.5)
    assert (lower[0], upper[0]) == (-2.0, 8.0)


def test_intervals_grow_with_the_value_where_errors_do():
    y_true, y_pred = proportional_errors()
    calibration = calibrate(y_true[:2000], y_pred[:2000], 0.9, TARGETS[BULK])
    assert calibration.power == 1.0
    lower, upper = calibration.bounds(y_pred[2000:], 0.9)
    inside = (lower <= y_true[2000:]) & (y_true[2000:] <= upper)
    assert inside.mean() == pytest.approx(0.9, abs=0.02)
    # A constant width covers the same share of all, but all of the soft ones and too few of the stiff ones.
    stiff = y_pred[2000:] > 150
    constant = Calibration(0.0, 1.0, np.sort(np.abs(y_true - y_pred)[:2000]), True)
    low, high = constant.bounds(y_pred[2000:][stiff], 0.9)
    covered = ((low <= y_true[2000:][stiff]) & (y_true[2000:][stiff] <= high)).mean()
    assert covered < 0.6 < 0.8 < inside[stiff].mean()


def test_errors_of_one_size_take_a_constant_width():
    rows = made_rows(2000)
    assert calibrate(rows["y_true"], rows["y_pred"], 0.9, TARGETS[BULK]).power == 0.0


def test_intervals_follow_the_predictive_variance_where_it_tells_something():
    rng = np.random.default_rng(1)
    y_pred, spread = rng.uniform(50, 250, 3000), rng.uniform(0.02, 0.3, 3000)
    y_true = y_pred * np.exp(spread * rng.normal(size=3000))
    learn, rest = slice(0, 1500), slice(1500, None)
    found = calibrate(y_true[learn], y_pred[learn], 0.9, TARGETS[BULK], spread[learn])
    plain = calibrate(y_true[learn], y_pred[learn], 0.9, TARGETS[BULK])
    assert (found.uses_spread, plain.uses_spread) == (True, False)
    lower, upper = found.bounds(y_pred[rest], 0.9, spread[rest])
    low, high = plain.bounds(y_pred[rest], 0.9)
    inside = (lower <= y_true[rest]) & (y_true[rest] <= upper)
    assert inside.mean() == pytest.approx(0.9, abs=0.03)
    assert (upper - lower).mean() < 0.95 * (high - low).mean()
    unsure = spread[rest] > 0.2
    assert inside[unsure].mean() > ((low <= y_true[rest]) & (y_true[rest] <= high))[unsure].mean() + 0.05
    with refused(source="intervals"):
        found.bounds(y_pred, 0.9)
    # one that tells nothing is left aside, and so is one that is missing
    shuffled = rng.permutation(spread)[learn]
    even = y_pred[learn] * np.exp(0.1 * rng.normal(size=1500))
    assert not calibrate(even, y_pred[learn], 0.9, TARGETS[BULK], shuffled).uses_spread
    assert not calibrate(even, y_pred[learn], 0.9, TARGETS[BULK], np.full(1500, np.nan)).uses_spread


def test_no_interval_of_a_positive_property_begins_below_zero():
    scores = np.sort(np.random.default_rng(0).uniform(0, 5, 200))
    lower, upper = Calibration(0.0, 10.0, scores, True).bounds(np.array([3.0, -200.0]), 0.9)
    assert (lower == 0).all()
    assert upper[0] > 3
    assert upper[1] == 0
    assert Calibration(0.0, 1.0, scores, False).bounds(np.array([-2.0]), 0.9)[0][0] < -5


def test_the_coverage_that_is_found_is_that_of_held_out_folds(tmp_path):
    rows = made_rows(900)
    final = [write_final(tmp_path / "final", made_rows(400, 1, seed=5))]
    table = evaluate_intervals([write_regression(tmp_path / "good", rows)], final, 0.9)
    assert list(table.columns) == COLUMNS
    assert table["fold"].tolist() == ["0", "1", "2", POOLED, "final"]
    pooled, of_final = table.iloc[-2], table.iloc[-1]
    assert of_final["n"] == 400
    assert of_final["coverage_found"] == pytest.approx(0.9, abs=0.04)
    assert pooled["n"] == 900
    assert pooled["coverage_found"] == pytest.approx(0.9, abs=0.03)
    assert pooled["mean_width"] == pytest.approx(18, rel=0.05)  # 90 % of a uniform error of ±10

    # One fold is ten times worse than stated: its coverage says so, and its own errors do not widen its intervals.
    worse = rows.copy()
    bad = worse["fold"] == "1"
    worse.loc[bad, "y_true"] = worse["y_pred"] + 10 * (worse["y_true"] - worse["y_pred"])
    spoilt = evaluate_intervals([write_regression(tmp_path / "bad", worse)], final, 0.9).set_index("fold")
    assert spoilt.loc["1", "coverage_found"] < 0.2
    assert spoilt.loc["1", "mean_width"] == table.set_index("fold").loc["1", "mean_width"]
    assert spoilt.loc["0", "coverage_found"] > 0.95
    assert spoilt.loc[POOLED, "coverage_found"] == pytest.approx(
        spoilt.loc[["0", "1", "2"], "coverage_found"].mean(), rel=1e-12
    )


def test_derived_properties_have_intervals_of_their_own(tmp_path):
    rows = made_rows(120)
    derived = made_rows(120, target="youngs_modulus_gpa", width=40.0)
    folder = write_regression(tmp_path / "run", rows, derived)
    found = calibrations(folder, 0.8)
    assert set(found) == {("lightgbm", BULK), ("lightgbm_from_kg", "youngs_modulus_gpa")}
    widths = {key: np.subtract(*one.bounds(np.array([150.0]), 0.8)[::-1])[0] for key, one in found.items()}
    assert widths["lightgbm_from_kg", "youngs_modulus_gpa"] > 3 * widths["lightgbm", BULK]
    table = evaluate_intervals([folder], [write_final(tmp_path / "final", rows, derived)], 0.8)
    assert set(zip(table["model"], table["target"], strict=True)) == set(found)


def test_too_few_residuals_give_no_bounds_instead_of_wrong_ones(tmp_path):
    final = [write_final(tmp_path / "final", made_rows(2, 1, ENERGY))]
    table = evaluate_intervals([write_regression(tmp_path / "few", made_rows(6, 2, ENERGY))], final, 0.9)
    assert np.isinf(table["mean_width"]).all()
    assert (table["coverage_found"] == 1).all()


@pytest.mark.parametrize("coverage", [0.0, 1.0, -0.1, 90.0])
def test_a_coverage_that_is_no_probability_is_refused(coverage):
    with refused(coverage):
        Calibration(0.0, 1.0, np.ones(5), False).quantile(coverage)


def test_one_fold_cannot_check_itself(tmp_path):
    """K has been tested in three folds, G in one: nothing says how often the intervals of G hold the true value."""
    one = made_rows(20, 1, target=SHEAR)
    folds = write_regression(tmp_path / "folds", pd.concat([made_rows(60, 3), one]))
    final = write_final(tmp_path / "final", pd.concat([made_rows(9, 1), one]))
    assert set(evaluate_intervals([folds], [final], 0.9)["target"]) == {BULK}
    judged = judge_final_models([final], [folds], 0.9).set_index("target")
    assert judged["is_offered"].to_dict() == {BULK: True, SHEAR: False}
    assert not lacking(judged.loc[SHEAR, "reason"], "folds")
