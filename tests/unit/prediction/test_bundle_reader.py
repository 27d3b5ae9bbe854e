"""A bundle that has travelled predicts what the workflow predicts; a damaged or foreign one is refused."""

import hashlib
import json
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from standins.bundle_run import (
    CONFIG,
    ENGINE,
    edit_manifest,
    finished_run,
    made_density,
    training_set,
    workflow_predictions,
)
from standins.refusals import refused

from rho2prop.autoencoder.decoding import decode_record
from rho2prop.autoencoder.encoding import encode
from rho2prop.autoencoder.training import load_autoencoder
from rho2prop.core.errors import InputError
from rho2prop.core.targets import TARGETS
from rho2prop.densities.given_density import checked_density
from rho2prop.densities.grids import Grid
from rho2prop.prediction.bundle.reader import COLUMNS, load_bundle

pytestmark = pytest.mark.slow

LIGHTGBM = "regressors/lightgbm/magpie_fingerprint"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return finished_run(tmp_path_factory)


@pytest.fixture
def moved(made, tmp_path):
    """The bundle in another place, as after a copy to another machine."""
    return shutil.copytree(made[1], tmp_path / "elsewhere" / "bundle")


@pytest.fixture(scope="module")
def bundle(made):
    return load_bundle(made[1])


def signed(folder, name):
    """Make the manifest agree with a changed file."""
    manifest = json.loads((folder / "manifest.json").read_text())
    content = (folder / name).read_bytes()
    record = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    edit_manifest(folder, files=manifest["files"] | {name: record})


def test_a_moved_bundle_predicts_what_the_workflow_predicts(made, moved, tmp_path):
    density = made_density((13, 17), (4.0, 4.7, 5.1), electrons=10.0)  # Al 3, Cl 7
    expected = workflow_predictions(made[0], density, tmp_path)
    expected = expected[expected["target"] != "poisson_ratio"]  # follows from K and G, has no interval of its own
    table = load_bundle(moved).predict(density, "new").table
    keys = ["model", "features", "target"]
    both = expected.merge(table, on=keys, suffixes=("_workflow", "_bundle"))
    assert len(both) == len(expected) == len(table) == 14
    np.testing.assert_allclose(both["value_bundle"], both["value_workflow"], rtol=1e-5)
    assert (both["unit_bundle"] == both["unit_workflow"]).all()


def test_an_interval_scaled_by_a_variance_that_the_model_lacks_is_refused(moved):
    intervals = json.loads((moved / "manifest.json").read_text())["intervals"]
    intervals["calibrations"][0]["uses_spread"] = True  # of LightGBM
    edit_manifest(moved, intervals=intervals)
    with refused(source="intervals"):
        load_bundle(moved).predict(made_density(), "x")


def test_remarks_of_a_reader_are_warnings_and_names_are_safe_on_a_terminal(bundle):
    charged = checked_density(made_density(electrons=9.0), "MgO.npz")
    prediction = bundle.predict(charged, "a\x1b[2Jb")
    assert any("charged (-1 e)" in warning for warning in prediction.warnings)
    assert prediction.name == r"a\x1b[2Jb"
    assert set(prediction.table["name"]) == {prediction.name}
    assert not any("charged" in warning for warning in bundle.predict(made_density(), "x").warnings)


def test_a_prediction_is_complete(bundle):
    prediction = bundle.predict(made_density(), "my crystal")
    table = prediction.table
    assert list(table.columns) == COLUMNS
    assert set(table["target"]) == set(TARGETS)
    assert (prediction.name, prediction.formula) == ("my crystal", "MgO")
    assert set(table["name"]) == {"my crystal"}
    assert set(table["formula"]) == {"MgO"}
    assert (table["coverage"] == 0.8).all()
    assert (table["lower"] <= table["value"]).all()
    assert (table["value"] <= table["upper"]).all()
    assert (table["lower"] >= 0).all()
    assert dict(zip(table["target"], table["symbol"], strict=True))["debye_temperature_k"] == "Θ"
    assert prediction.warnings == []


def test_more_coverage_takes_wider_intervals(bundle):
    narrow, wide = (bundle.predict(made_density(), "x", coverage=share).table for share in (0.5, 0.9))
    assert (wide["upper"] - wide["lower"] >= narrow["upper"] - narrow["lower"]).all()
    assert (wide["upper"] > narrow["upper"]).any()
    np.testing.assert_array_equal(wide["value"], narrow["value"])


def test_distance_to_the_training_set_is_told(bundle):
    name, density = next(iter(training_set().items()))
    itself = bundle.predict(density, "x").applicability
    assert itself.nearest[0][0] == name
    assert "fitted, not predicted" in itself.text
    foreign = bundle.predict(made_density((79, 8)), "x").applicability
    assert foreign.is_far
    assert "Au" in foreign.text
    # Known elements, but a cell and a charge that no training material comes near.
    thin = bundle.predict(made_density((12, 8), (9.0, 9.5, 9.0), electrons=2.0), "x").applicability
    assert thin.percentile > bundle.predict(made_density(), "x").applicability.percentile
    assert thin.is_far


def test_another_kind_or_engine_is_refused_with_both_named(bundle):
    density = made_density()
    with pytest.raises(InputError) as error:
        bundle.predict(replace(density, kind="all_electron"), "core.cube", allow_other_engine=True)
    assert all(word in str(error.value) for word in ("core.cube", "all_electron", "valence"))
    with pytest.raises(InputError) as error:
        bundle.predict(replace(density, engine="vasp 6.4.2"), "CHGCAR")
    assert all(word in str(error.value) for word in ("CHGCAR", "vasp 6.4.2", ENGINE, "--allow-other-engine"))
    allowed = bundle.predict(replace(density, engine="vasp 6.4.2"), "CHGCAR", allow_other_engine=True)
    assert len(allowed.warnings) == 1
    assert "vasp 6.4.2" in allowed.warnings[0]
    pd.testing.assert_frame_equal(allowed.table, bundle.predict(density, "CHGCAR").table)


def test_another_version_of_the_engine_is_a_warning(bundle):
    prediction = bundle.predict(replace(made_density(), engine="gpaw 24.1.0"), "x")
    assert len(prediction.warnings) == 1
    assert "gpaw 24.1.0" in prediction.warnings[0]
    assert ENGINE in prediction.warnings[0]


def test_encoder_and_decoder_are_those_of_the_run(made, bundle):
    density = made_density()
    model, _ = load_autoencoder(made[0].autoencoder)
    latent = bundle.encode(density)
    assert latent.dtype == np.float32
    np.testing.assert_array_equal(latent, encode(model, density, Grid(**CONFIG["grid"])))
    grid = bundle.decode(latent)
    assert grid.shape == (16, 16, 16)
    import torch

    with torch.no_grad():
        np.testing.assert_array_equal(grid, model.decoder(torch.from_numpy(latent)[None])[0, 0].numpy())
    with refused("(16, 4, 4, 4)"):
        bundle.decode(latent[:, :2])
    decoded = decode_record(bundle.decoder, bundle.encode_record(density, "x"))
    assert decoded.values.shape == density.values.shape
    assert decoded.integral() == pytest.approx(8, rel=1e-5)


@pytest.mark.parametrize(
    "name", [f"{LIGHTGBM}/bulk_modulus_gpa.txt", "autoencoder/encoder.safetensors", "intervals.npz", "training.csv"]
)
def test_a_changed_or_missing_file_is_named(moved, name):
    content = (moved / name).read_bytes()
    (moved / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with refused(source=moved / name):
        load_bundle(moved)
    (moved / name).unlink()
    with refused(source=moved / name):
        load_bundle(moved)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"format_version": 7, "code_version": "9.9"},
            "format version 7, this program reads up to 6. Install rho2prop 9.9",
        ),
        ({"format_version": 4}, "format version 4, expected 6"),
        ({"format": "recipe"}, "rho2prop model bundle"),
        ({"regressors": None}, "its key 'regressors' is 'None', expected a list"),
        ({"targets": {"colour": {}}}, "predicts 'colour'"),
        ({"density": {"kind": "valence"}}, "its key 'density.engine' is missing"),
        ({"files": {"../evil.json": {"sha256": "0" * 64, "bytes": 0}}}, "lists the file '../evil.json'"),
        ({"files": {"/etc/passwd.txt": {"sha256": "0" * 64, "bytes": 0}}}, "lists the file '/etc/passwd.txt'"),
        ({"features": {}}, "its key 'features.blocks' is missing"),
    ],
)
def test_a_manifest_that_cannot_be_trusted_is_refused(moved, changes, message):
    edit_manifest(moved, **changes)
    with pytest.raises(InputError) as error:
        load_bundle(moved)
    assert message in str(error.value)
    assert "manifest.json" in str(error.value)


def test_no_bundle_and_no_json_are_refused(tmp_path):
    with refused(source=tmp_path):
        load_bundle(tmp_path)
    (tmp_path / "manifest.json").write_text("{ not json")
    with refused("JSON", source="manifest.json"):
        load_bundle(tmp_path)


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (open, (str(self.mark), "w"))


def test_a_pickle_is_never_opened(moved, tmp_path):
    mark = tmp_path / "exploded"
    (moved / "model.pkl").write_bytes(pickle.dumps(Bomb(mark)))
    load_bundle(moved).load()  # a stray file beside the others is not touched
    manifest = json.loads((moved / "manifest.json").read_text())
    signed(moved, "model.pkl")
    with refused("'model.pkl'"):
        load_bundle(moved)
    edit_manifest(moved, files=manifest["files"])
    # An array of objects is a pickle inside an .npz, here with the right checksum.
    np.savez(moved / "intervals.npz", scores=np.array([Bomb(mark)], dtype=object), allow_pickle=True)
    signed(moved, "intervals.npz")
    with refused(source="intervals.npz"):
        load_bundle(moved).predict(made_density(), "x")
    assert not mark.exists()


def test_a_damaged_network_with_the_right_checksum_is_named(moved):
    path = moved / "autoencoder/encoder.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    signed(moved, "autoencoder/encoder.safetensors")
    with refused(source="encoder.safetensors"):
        load_bundle(moved).encode(made_density())
