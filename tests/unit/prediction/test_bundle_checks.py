"""Bundles that were tampered with and signed again, or mixed from two: an error that names the part, never a crash."""

import io
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from standins.bundle_damage import (
    first_scores,
    manifest_of,
    replace_arrays,
    replace_file,
    replace_json,
    replace_weights,
    set_key,
    with_first,
)
from standins.bundle_run import edit_manifest, finished_run, made_density
from standins.refusals import refused
from standins.tree_text_fuzz import booster_text

from rho2prop.core.errors import InputError
from rho2prop.prediction.bundle import parts
from rho2prop.prediction.bundle.checks import MANIFEST_FIELDS, REGRESSOR_FIELDS
from rho2prop.prediction.bundle.parts import check_regressor
from rho2prop.prediction.bundle.reader import load_bundle
from rho2prop.prediction.pretrained import SHIPPED

pytestmark = pytest.mark.slow

LIGHTGBM, NETWORK = "regressors/lightgbm/magpie_fingerprint", "regressors/attention_cnn/magpie_latent"
TREES = f"{LIGHTGBM}/bulk_modulus_gpa.txt"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return finished_run(tmp_path_factory)[1]


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "bundle")


def refusal(folder) -> str:
    with pytest.raises(InputError) as error:
        load_bundle(folder).predict(made_density(), "x")
    return str(error.value)


@pytest.mark.parametrize("key", [*MANIFEST_FIELDS, *(f"regressors.0.{key}" for key in REGRESSOR_FIELDS)])
def test_a_key_of_another_form_is_refused(folder, key):
    """Whatever stands there instead: missing, another type, an empty list."""
    original = (folder / "manifest.json").read_text()
    for value in (None, 5, "x", [], {}, [{"x": 1}], -1e308, True):
        manifest = json.loads(original)
        set_key(manifest, key, value)
        (folder / "manifest.json").write_text(json.dumps(manifest))
        if (key, value) != ("code_version", "x"):  # the one that is as good as any
            assert refusal(folder)


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("files", {"x": 5}, "files"),
        ("files.training.csv", 5, "sha256"),
        ("format_version", "6", "format_version"),
        ("features", "x", "features.blocks"),
        ("features.blocks.fingerprint", 2, "read version 2 of the block"),
        ("regressors.0.blocks", ["magpie", "phonons"], "read version None of the block"),
        ("intervals.coverage", 7, "coverage"),
        ("intervals.coverage", 0.0, "coverage"),
        ("intervals.calibrations.0.offset", -1.0, "offset"),
        ("intervals.calibrations.0.offset", float("nan"), "NaN"),
        ("intervals.calibrations.0.power", 1e9, "power"),
        ("intervals.calibrations.0.uses_spread", "yes", "uses_spread"),
        ("intervals.calibrations.0.n", 0, "calibrations[0].n"),
        ("intervals.calibrations.0.target", "colour", "target"),
        ("intervals.calibrations.0.features", "magpie", "no calibration of"),
        ("intervals.calibrations.0.model", "lightgbm_from_kg", "no calibration of"),
        ("config.dft.gpaw", {"xc": "PBE"}, "ecut_ev"),
        ("config.dft.gpaw.max_iterations", -1, "max_iterations"),
        ("regressors.0.folder", "../elsewhere", "folder inside the bundle"),
        ("regressors.0.folder", "/tmp", "folder inside the bundle"),
        ("regressors.0.folder", "regressors", "does not list"),
        ("regressors.0.targets", ["colour"], "expected its targets"),
        ("regressors.0.model", "oracle", "oracle"),
        ("grid.size", 10**9, "grid.size"),
        ("grid.size", 32, "32"),
        ("autoencoder.network.latent_size", 10**9, "latent_size"),
        ("autoencoder.network.network", "huge", "paper or fast"),
        ("autoencoder.latent_shape", [16, 4, 4, 10**9], "latent_shape"),
        ("training.n_materials", 3, "training_space.npz"),
    ],
)
def test_a_value_out_of_bounds_is_named(folder, key, value, word):
    manifest = manifest_of(folder)
    if key == "files.training.csv":
        manifest["files"]["training.csv"] = value
    else:
        set_key(manifest, key, value)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert word in refusal(folder)


def test_two_models_of_one_name_and_deep_json_are_refused(folder):
    edit_manifest(folder, regressors=manifest_of(folder)["regressors"][:1] * 2)
    assert "twice" in refusal(folder)
    (folder / "manifest.json").write_text("[" * 100_000)
    assert "manifest.json" in refusal(folder)


FAULTS = {
    "scores unsorted": ("intervals.npz", lambda c: with_first(c, first_scores(c)[::-1].copy())),
    "scores negative": ("intervals.npz", lambda c: with_first(c, first_scores(c) - 1e6)),
    "scores NaN": ("intervals.npz", lambda c: with_first(c, first_scores(c) * np.nan)),
    "scores too few": ("intervals.npz", lambda c: with_first(c, first_scores(c)[1:])),
    "scores of whole numbers": ("intervals.npz", lambda c: with_first(c, np.arange(len(first_scores(c))))),
    "scores missing": ("intervals.npz", lambda c: c.pop(min(c))),
    "space of other columns": ("training_space.npz", lambda c: c.update(columns=c["columns"][1:])),
    "space without a field": ("training_space.npz", lambda c: c.pop("formulas")),
    "space of NaN": ("training_space.npz", lambda c: c.update(points=c["points"] * np.nan)),
    "space of other elements": ("training_space.npz", lambda c: c.update(elements=c["elements"][1:])),
    "design without a column": (f"{LIGHTGBM}/design.npz", lambda c: c.update({"magpie.mean": c["magpie.mean"][1:]})),
    "design with scale 0": (f"{LIGHTGBM}/design.npz", lambda c: c.update({"magpie.scale": c["magpie.scale"] * 0})),
    "design with another array": (f"{LIGHTGBM}/design.npz", lambda c: c.update({"latent.mean": np.zeros(3)})),
    "latent of other channels": (f"{NETWORK}/design.npz", lambda c: c.update({"latent.mean": c["latent.mean"][1:]})),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_arrays_that_do_not_fit_are_named(folder, fault):
    name, change = FAULTS[fault]
    replace_arrays(folder, name, change)
    assert name.rsplit("/", 1)[-1] in refusal(folder)


def test_an_array_that_claims_or_unpacks_to_too_much_is_refused(folder, monkeypatch):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"
    header += b" " * (117 - len(header)) + b"\n"
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(80))
    replace_file(folder, "intervals.npz", stream.getvalue())
    assert "(1000000000000,)" in refusal(folder)
    monkeypatch.setattr(parts, "MOST_BYTES", 2**20)
    np.savez_compressed(stream := io.BytesIO(), x=np.zeros(2**18))
    assert len(stream.getvalue()) < 2**14
    replace_file(folder, "intervals.npz", stream.getvalue())
    assert "expected at most 1048576 bytes" in refusal(folder)


def huge_tensor(folder, name):
    header = json.dumps({"x": {"dtype": "F32", "shape": [10**9, 10**9, 10**9], "data_offsets": [0, 4]}}).encode()
    replace_file(folder, name, len(header).to_bytes(8, "little") + header + bytes(4))


@pytest.mark.parametrize("name", ["autoencoder/encoder.safetensors", f"{NETWORK}/model.safetensors"])
def test_weights_that_are_no_numbers_or_of_other_shapes_are_named(folder, name):
    def first_nan(content):
        content[min(content)] = content[min(content)] * np.nan

    original = (folder / name).read_bytes()
    replace_weights(folder, name, first_nan)
    assert "not finite numbers" in refusal(folder)
    replace_file(folder, name, original)
    replace_weights(folder, name, lambda content: content.pop(min(content)))
    assert "does not hold the weights" in refusal(folder)
    huge_tensor(folder, name)
    assert Path(name).name in refusal(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("members.0.channels", [10**9]),
        ("members.0.channels", [4] * 1000),
        ("members.0.channels", "4"),
        ("members.0.head_depth", 10**9),
        ("members.0.head_width", 10**9),
        ("members.0.n_tabular", 3),
        ("members.0.latent_size", 2),
        ("members.0.n_outputs", 1),
        ("members.0.surprise", 1),
        ("members", []),
        ("architecture", "graph"),
        ("targets", []),
        ("minimum", None),
        ("span", [0.0] * 5),
        ("is_log", [1] * 5),
    ],
)
def test_sizes_of_networks_are_bounded_by_their_files(folder, key, value):
    replace_json(folder, f"{NETWORK}/model.json", lambda content: set_key(content, key, value))
    message = refusal(folder)
    assert "attention_cnn" in message


PROCESS_FAULTS = {
    "rows of another width": lambda c: c.update(rows=c["rows"][:, 1:]),
    "weights NaN": lambda c: c.update(weights=c["weights"] * np.nan),
    "weights of another length": lambda c: c.update(weights=c["weights"][1:]),
    "groups that are not there": lambda c: c.update(smooth=c["smooth"] + 10**6),
    "hyperparameters out of bounds": lambda c: c.update(hyperparameters=c["hyperparameters"] * 1e6),
    "hyperparameters of other groups": lambda c: c.update(hyperparameters=c["hyperparameters"][1:]),
    "no logarithm told": lambda c: c.pop("is_log"),
    "scale 0": lambda c: c.update(scale=np.float64(0)),
    "objects": lambda c: c.update(trend=c["trend"].astype(object)),
}


@pytest.mark.parametrize("fault", PROCESS_FAULTS)
def test_a_process_that_does_not_fit_its_design_is_named(tmp_path, fault):
    folder = shutil.copytree(SHIPPED, tmp_path / "bundle")
    record = next(one for one in manifest_of(folder)["regressors"] if one["model"] == "blend")
    replace_arrays(folder, f"{record['folder']}/shear_modulus_gpa.npz", PROCESS_FAULTS[fault])
    with refused(source="shear_modulus_gpa.npz"):
        check_regressor(folder / record["folder"], record, manifest_of(folder)["autoencoder"]["latent_shape"])


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        (f"{LIGHTGBM}/fold.json", "targets", ["bulk_modulus_gpa"]),
        (f"{LIGHTGBM}/fold.json", "features", "magpie"),
        (f"{LIGHTGBM}/fold.json", "blocks", ["magpie"]),
        (f"{LIGHTGBM}/design.json", "blocks", ["magpie"]),
        (f"{LIGHTGBM}/design.json", "columns", {"magpie": 5}),
        (f"{LIGHTGBM}/design.json", "columns.magpie", []),
    ],
)
def test_records_that_contradict_the_manifest_are_named(folder, name, key, value):
    replace_json(folder, name, lambda content: set_key(content, key, value))
    assert "lightgbm" in refusal(folder)


@pytest.mark.parametrize("fault", ["split_feature", "left_child", "features"])
def test_trees_that_would_end_the_process_are_refused(folder, fault):
    text = (folder / TREES).read_text()
    if fault == "features":
        text = booster_text()
    else:
        line = next(line for line in text.split("\n") if line.startswith(f"{fault}=") and " " in line)
        words = line.removeprefix(f"{fault}=").split(" ")
        digits = "9" * len(words[0]) if fault == "split_feature" else "0" * len(words[0])
        text = text.replace(line, f"{fault}=" + " ".join([digits, *words[1:]]), 1)
    replace_file(folder, TREES, text.encode())
    assert "bulk_modulus_gpa.txt" in refusal(folder)


def walk(content, path=()):
    """Paths to all values of a JSON content."""
    yield path
    pairs = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in pairs:
        yield from walk(value, (*path, key))


def test_a_manifest_with_any_value_replaced_predicts_or_is_refused(folder):
    """Never another exception; most of it is refused."""
    rng, original = np.random.default_rng(2), manifest_of(folder)
    density, n_refused = made_density(), 0
    skipped = ("files", "config")  # thousands of checksums; the configuration is a record, but for dft
    places = [path for path in walk(original) if len(path) > 1 and (path[0] not in skipped or path[1] == "dft")]
    for number in rng.choice(len(places), 120, replace=False):
        manifest = json.loads(json.dumps(original))
        *path, last = places[number]
        content = manifest
        for part in path:
            content = content[part]
        content[last] = [None, -1, 10**400, "\x1b[2J", [], {}, True, 1e-300, "../x"][rng.integers(9)]
        (folder / "manifest.json").write_text(json.dumps(manifest))
        try:
            load_bundle(folder).predict(density, "x")
        except InputError:
            n_refused += 1
    assert n_refused > 60


def test_files_with_flipped_bytes_predict_or_are_refused(folder):
    rng, density, n_refused = np.random.default_rng(3), made_density(), 0
    names = [name for name in manifest_of(folder)["files"] if not name.endswith(".csv")]
    for name in names * 4:
        original = (folder / name).read_bytes()
        content = bytearray(original)
        for place in rng.integers(0, min(len(content), 3000), 3):
            content[place] = rng.integers(256)
        replace_file(folder, name, bytes(content))
        try:
            load_bundle(folder).predict(density, "x")
        except InputError:
            n_refused += 1
        replace_file(folder, name, original)
    assert n_refused > 2 * len(names)


def test_only_listed_files_are_opened(folder, tmp_path):
    files = manifest_of(folder)["files"]
    edit_manifest(folder, files={name: record for name, record in files.items() if name != TREES})
    assert "is not listed" in refusal(folder)
    edit_manifest(folder, files=files)
    (folder / LIGHTGBM / "other.txt").write_text("x")
    assert "other.txt" in refusal(folder)
    (folder / LIGHTGBM / "other.txt").unlink()
    (folder / "notes.md").write_text("beside the models: nobody opens it")
    load_bundle(folder)
    moved = (folder / TREES).rename(tmp_path / "trees.txt")
    (folder / TREES).symlink_to(moved)
    assert "symbolic link" in refusal(folder)
    (folder / TREES).unlink()
    moved.rename(folder / TREES)
    (folder / "autoencoder").rename(tmp_path / "autoencoder")
    (folder / "autoencoder").symlink_to(tmp_path / "autoencoder")
    assert "symbolic link" in refusal(folder)
