"""Writing a model bundle: complete, checked, and nothing in it that could run code."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from standins.bundle_run import CONFIG, ENGINE, finished_run, made_density
from standins.refusals import refused

from rho2prop import __version__
from rho2prop.core.targets import TARGETS
from rho2prop.evaluation.fold_results import collect_metrics
from rho2prop.evaluation.intervals import calibrations
from rho2prop.evaluation.metrics import summarise
from rho2prop.prediction.bundle.checks import SUFFIXES, VERSION
from rho2prop.prediction.bundle.reader import load_bundle
from rho2prop.prediction.bundle.writer import write_bundle

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return finished_run(tmp_path_factory)


@pytest.fixture(scope="module")
def manifest(made):
    return json.loads((made[1] / "manifest.json").read_text())


def test_the_manifest_says_what_the_models_are_and_expect(made, manifest):
    assert manifest["format"] == "rho2prop model bundle"
    assert (manifest["format_version"], manifest["code_version"]) == (VERSION, __version__)
    assert manifest["density"] == {"kind": "valence", "engine": ENGINE, "unit": "e/Å³"}
    assert manifest["grid"] == CONFIG["grid"]
    places = ("materials", "materials_project", "dft")  # of the machine that trained: nothing of it is told
    kept = manifest["config"]
    assert {key: kept[key] for key in kept if key not in places} == {k: CONFIG[k] for k in CONFIG if k not in places}
    assert kept["materials"] == "materials.csv"
    assert kept["dft"]["gpaw"] == CONFIG["dft"]["gpaw"]
    assert "/somewhere" not in json.dumps(kept)
    assert {name: one["unit"] for name, one in manifest["targets"].items()} == {
        name: target.unit for name, target in TARGETS.items()
    }
    assert [(one["model"], one["features"]) for one in manifest["regressors"]] == [
        ("lightgbm", "magpie_fingerprint"),
        ("attention_cnn", "magpie_latent"),
    ]
    training = pd.read_csv(made[1] / "training.csv")
    materials = pd.read_csv(made[0].materials)
    assert training["material_id"].tolist() == materials["material_id"].tolist()
    assert training["formula"].tolist() == materials["formula"].tolist()
    assert manifest["training"]["elements"] == ["Al", "B", "Cl", "Li", "Mg", "Na", "O", "Si"]
    expected = summarise(collect_metrics(made[0].folds))
    pd.testing.assert_frame_equal(pd.read_csv(made[1] / "metrics_summary.csv"), expected, check_dtype=False)
    assert (made[1] / "intervals.csv").read_bytes() == made[0].intervals.read_bytes()


def test_every_file_is_listed_with_its_checksum(made, manifest):
    files = {path.relative_to(made[1]).as_posix() for path in made[1].rglob("*") if path.is_file()}
    assert files == set(manifest["files"]) | {"manifest.json"}
    for name, record in manifest["files"].items():
        content = (made[1] / name).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (record["sha256"], record["bytes"])


def test_no_file_could_run_code(made):
    for path in made[1].rglob("*"):
        if path.is_file():
            assert path.suffix in SUFFIXES
            assert b"pickle" not in path.read_bytes()[:200]
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                assert all(arrays[name].dtype != object for name in arrays.files)


def test_the_calibration_is_that_of_all_out_of_fold_residuals(made, manifest):
    assert manifest["intervals"]["coverage"] == 0.8
    records = {(one["model"], one["target"]): one for one in manifest["intervals"]["calibrations"]}
    assert {model for model, _ in records} == {
        "lightgbm", "lightgbm_from_kg", "attention_cnn", "attention_cnn_from_kg"
    }  # fmt: skip
    with np.load(made[1] / "intervals.npz") as scores:
        for folder in made[0].folds:
            for key, calibration in calibrations(folder, 0.8).items():
                assert records[key]["power"] == calibration.power
                np.testing.assert_array_equal(scores[records[key]["scores"]], calibration.scores)


@pytest.mark.parametrize(
    "refused",
    [
        [("lightgbm", "bulk_modulus_gpa")],
        [("attention_cnn", "atomization_energy_ev_per_atom"), ("attention_cnn_from_kg", "debye_temperature_k")],
        [("lightgbm", target) for target in TARGETS],  # E and Debye temperature that follow from K and G remain
    ],
)
def test_a_model_that_is_refused_for_some_properties_predicts_the_others(made, tmp_path, refused):
    judged = pd.read_csv(made[0].judged, dtype={"reason": str})
    rows = [row in refused for row in zip(judged["model"], judged["target"], strict=True)]
    judged.loc[rows, ["is_offered", "reason"]] = [False, "larger errors"]
    judged.to_csv(tmp_path / "judged.csv", index=False)
    write_bundle(replace(made[0], judged=tmp_path / "judged.csv"), CONFIG, tmp_path / "models")
    table = load_bundle(tmp_path / "models").predict(made_density(), "x").table
    everything = load_bundle(made[1]).predict(made_density(), "x").table
    kept = [row not in refused for row in zip(everything["model"], everything["target"], strict=True)]
    pd.testing.assert_frame_equal(table, everything[kept].reset_index(drop=True))
    not_offered = json.loads((tmp_path / "models/manifest.json").read_text())["intervals"]["not_offered"]
    assert {(record["model"], record["target"]) for record in not_offered} == set(refused)


def test_what_does_not_belong_together_is_refused(made, tmp_path):
    run_files, _ = made
    out = tmp_path / "models"
    with refused("lightgbm", "magpie"):
        write_bundle(replace(run_files, final=run_files.final[::-1]), CONFIG, out)
    other = CONFIG | {"grid": CONFIG["grid"] | {"voxel_ang": 0.3}}
    with refused("0.3", "0.4"):
        write_bundle(run_files, other, out)
    materials = pd.read_csv(run_files.materials)
    materials.loc[3, "density_engine"] = "vasp"
    materials.to_csv(tmp_path / "materials.csv", index=False)
    with refused("vasp"):
        write_bundle(replace(run_files, materials=tmp_path / "materials.csv"), CONFIG, out)
    assert not out.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["materials.csv"]


def test_a_block_that_no_density_gives_is_refused(made, tmp_path):
    run_files, _ = made
    final = tmp_path / "final"
    (final / "folds").mkdir(parents=True)
    (final / "targets.json").write_text(json.dumps({"model": "lightgbm", "features": "other", "blocks": []}))
    config = CONFIG | {"predict": [{"model": "lightgbm", "features": "graph"}]}
    with refused("'graph'"):
        write_bundle(replace(run_files, final=[final], folds=run_files.folds[:1]), config, tmp_path / "models")
