"""Twelve materials: the first of the models that predict is left out, what comes after it does without."""

import json
from pathlib import Path

import pandas as pd
import pytest
from standins import bundle_run

from rho2prop.evaluation.fold_results import is_trained
from rho2prop.evaluation.invariance import evaluate
from rho2prop.materials.splits import draw_splits
from rho2prop.prediction.bundle.writer import write_bundle

pytestmark = pytest.mark.slow

NETWORK, TREES = "attention_cnn", "lightgbm"
PREDICT = bundle_run.CONFIG["predict"][::-1]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A finished run of twelve materials in five folds, in each of which one material validates."""
    folder = tmp_path_factory.mktemp("small")
    twelve = dict(list(bundle_run.training_set().items())[:12])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundle_run, "training_set", lambda: twelve)
        patch.setattr(bundle_run, "draw_splits", lambda rows, kinds, *_: draw_splits(rows, ["random"], 5, 0.15, 7))
        patch.setattr(bundle_run, "SPLIT", "random")
        patch.setitem(bundle_run.CONFIG, "predict", PREDICT)
        run = bundle_run.write_results(folder)
        yield folder, run


def test_the_bundle_offers_the_model_that_could_be_trained(small, tmp_path):
    folder, run = small
    assert [is_trained(path) for path in run.folds] == [False, True]
    write_bundle(run, bundle_run.CONFIG | {"predict": PREDICT}, tmp_path / "models")
    manifest = json.loads((tmp_path / "models/manifest.json").read_text())
    assert {entry["model"] for entry in manifest["regressors"]} == {TREES}
    assert {entry["model"].removesuffix("_from_kg") for entry in manifest["intervals"]["calibrations"]} == {TREES}
    assert set(pd.read_csv(folder / "intervals.csv")["model"].str.removesuffix("_from_kg")) == {TREES}


def test_new_materials_are_predicted_with_it(small, tmp_path):
    _, run = small
    predictions = bundle_run.workflow_predictions(run, bundle_run.made_density(), tmp_path)
    assert set(predictions["model"].str.removesuffix("_from_kg")) == {TREES}
    assert predictions["value"].notna().all()


def test_robustness_looks_at_it_alone(small):
    _, run = small
    density = Path(run.materials).parent / "dft/m00/density.npz"
    regressions = [*run.folds[:1], run.final[1]]  # the first was left out
    table = evaluate(regressions, run.autoencoder, {"m00": density}, seed=1)
    assert set(table["model"]) == {TREES}
