"""Tables with labels of some properties only: the bundle predicts what follows, with intervals, and nothing else."""

import numpy as np
import pandas as pd
import pytest
from standins.bundle_run import CONFIG, made_density, write_results

from rho2prop.core.targets import ATOMIZATION_ENERGY
from rho2prop.crystals.elasticity import BULK, DEBYE, SHEAR, YOUNG
from rho2prop.prediction.bundle.reader import load_bundle
from rho2prop.prediction.bundle.writer import write_bundle

pytestmark = pytest.mark.slow

FEATURES = "magpie_fingerprint"
LEARNED = ("lightgbm", "blend")


@pytest.mark.parametrize(
    ("labelled", "learned", "following"),
    [
        ((BULK, SHEAR), {BULK, SHEAR}, {YOUNG, DEBYE}),
        ((BULK,), {BULK}, set()),
        ((ATOMIZATION_ENERGY,), {ATOMIZATION_ENERGY}, set()),
    ],
)
def test_a_bundle_predicts_what_its_labels_give(tmp_path, labelled, learned, following):
    config = CONFIG | {"predict": [{"model": model, "features": FEATURES} for model in LEARNED]}
    write_bundle(write_results(tmp_path, config, labelled), config, tmp_path / "models")
    table = load_bundle(tmp_path / "models").predict(made_density(), "new").table
    for model in LEARNED:
        assert set(table.loc[table["model"] == model, "target"]) == learned
        assert set(table.loc[table["model"] == f"{model}_from_kg", "target"]) == following
    assert np.isfinite(table[["value", "lower", "upper"]]).all(axis=None)
    assert ((table["lower"] <= table["value"]) & (table["value"] <= table["upper"])).all()
    assert (table["lower"] < table["upper"]).all()


def test_residuals_of_k_and_g_carry_over_to_what_follows_from_them(tmp_path):
    """Without labels of E its true value is that of the labels of K and G: intervals as if E were in the table."""
    config = CONFIG | {"predict": [{"model": "blend", "features": FEATURES}]}
    calibrated = {}
    for name, labelled in (("without", (BULK, SHEAR)), ("with", (BULK, SHEAR, YOUNG, DEBYE))):
        run = write_results(tmp_path / name, config, labelled)
        calibrated[name] = pd.read_csv(f"{run.folds[0]}/predictions_from_kg.csv")
        assert set(calibrated[name]["target"]) == {YOUNG, DEBYE}
    pd.testing.assert_frame_equal(calibrated["without"], calibrated["with"], rtol=1e-9)
