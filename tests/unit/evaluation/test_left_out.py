"""A model with too few labels is left out with its reason, and what reads regressions copes with it."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from standins.networks import cnn_section
from standins.refusals import lacking
from standins.regressions import regression, run

from rho2prop.core.targets import TARGETS
from rho2prop.crystals.elasticity import BULK, SHEAR
from rho2prop.evaluation import learning_curve
from rho2prop.evaluation.cross_validation import RegressionData, _trainable_targets
from rho2prop.evaluation.final_models import judge_final_models, read_offered
from rho2prop.evaluation.fold_results import collect_metrics, is_trained, read_predictions
from rho2prop.evaluation.importance import COLUMNS, block_importance
from rho2prop.evaluation.intervals import calibrations
from rho2prop.features.design_matrix import BlockData
from rho2prop.materials.splits import draw_splits
from rho2prop.report.data import left_out

pytestmark = pytest.mark.slow

SETTINGS = {
    "mean": {},
    "attention_cnn": cnn_section(n_trials=1, max_epochs=2, patience=2, batch_size=4, channels=[4]),
}


@pytest.fixture(scope="module")
def small():
    """Twelve materials: folds of which one validates, too few for a network; splits and one block."""
    ids = [f"m{i:02d}" for i in range(12)]
    rng = np.random.default_rng(5)
    materials = pd.DataFrame({"material_id": ids, "role": "train", "formula": ids, "chemical_system": ids})
    materials = materials.assign(volume_per_atom_ang3=10.0, **dict.fromkeys(TARGETS, np.nan))
    materials[BULK] = np.linspace(50, 160, 12)
    materials.loc[:5, SHEAR] = 30.0
    block = pd.DataFrame(rng.normal(size=(12, 3)), columns=list("abc"), index=ids)
    return materials, draw_splits(materials, ["random"], 5, 0.15, 1), BlockData({"magpie": block})


def fitted(folder, model, features, small):
    materials, splits, blocks = small
    run(model, features, "random", materials, splits, blocks, SETTINGS[model], 4, folder, seed=1, threads=1)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory, small):
    """The network, left out, and the mean, fitted."""
    path = tmp_path_factory.mktemp("left_out")
    return fitted(path / "cnn", "attention_cnn", "magpie", small), fitted(path / "mean", "mean", "none", small)


def test_it_is_recorded_with_the_reason(folders, capsys):
    network, mean = folders
    record = json.loads((network / "targets.json").read_text())
    assert record["targets"] == []
    assert set(record["left_out"]) == set(TARGETS)
    assert not lacking(record["left_out"][BULK], 1, 5, 2)
    assert not lacking(record["left_out"][SHEAR], 6, 10)
    assert (is_trained(network), is_trained(mean)) == (False, True)


def test_what_reads_regressions_copes(folders, small, tmp_path):
    network, mean = folders
    judge_final_models([network], [network], 0.9).to_csv(tmp_path / "judged.csv", index=False)
    assert read_offered(tmp_path / "judged.csv") == set()
    assert set(collect_metrics([network, mean])["model"]) == {"mean"}
    assert read_predictions(network / "predictions.csv").empty
    assert calibrations(network, 0.9) == {}
    importance = block_importance(network, small[1], small[2], seed=1)
    assert importance.empty
    assert list(importance.columns) == COLUMNS


def test_the_report_says_which_models_were_left_out_and_why(folders, tmp_path):
    network, mean = folders
    for folder, place in ((network, "attention_cnn/magpie/random"), (mean, "mean/none/random")):
        shutil.copytree(folder, tmp_path / place)
    config = {"evaluation": {"splits": ["random"], "regressions": {"mean": ["none"], "attention_cnn": ["magpie"]}}}
    shown = left_out(SimpleNamespace(config=config, predictions_dir=tmp_path))
    assert set(shown) == {("attention_cnn", "magpie", "random")}
    assert not lacking(shown["attention_cnn", "magpie", "random"][BULK], 1, 5, 2)


def test_a_point_of_a_learning_curve_is_left_out_like_it(tmp_path, small, folders):
    materials, splits, blocks = small
    chosen = regression("attention_cnn", "magpie", "random", SETTINGS["attention_cnn"], 4)
    learning_curve.learn(chosen, RegressionData(materials, splits, blocks), [8], tmp_path / "curve")
    assert not is_trained(tmp_path / "curve" / "8")
    curve = learning_curve.collect([tmp_path / "curve"], list(folders))
    assert set(curve["size"]) == {"all"}
    assert set(curve["model"]) == {"mean"}


def test_a_joint_network_validates_on_rows_with_any_label():
    """Ten training rows with both labels; K is known of one validation row, G of the other."""
    ids = [f"m{i:02d}" for i in range(12)]
    labels = pd.DataFrame({BULK: 50.0, SHEAR: 30.0}, index=ids)
    labels.loc["m10", SHEAR] = labels.loc["m11", BULK] = np.nan
    folds = {"0": {"train": ids[:10], "validation": ids[10:], "test": []}}
    assert _trainable_targets("attention_cnn", labels, folds) == ([BULK, SHEAR], {})
    assert _trainable_targets("lightgbm", labels, folds) == ([BULK, SHEAR], {})
    targets, reasons = _trainable_targets("multiscale_cnn_single", labels, folds)  # a network for each
    assert targets == []
    assert set(reasons) == {BULK, SHEAR}
