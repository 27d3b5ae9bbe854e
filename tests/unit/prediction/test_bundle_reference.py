"""Built-in crystals: another definition of a feature, or parts of two bundles, are found out before a prediction."""

import json
import shutil

import numpy as np
import pytest
from standins.bundle_damage import (
    first_scores,
    manifest_of,
    replace_arrays,
    replace_file,
    replace_weights,
    set_key,
    with_first,
)
from standins.bundle_run import finished_run, made_density
from standins.refusals import refused

from rho2prop.core.errors import InputError
from rho2prop.densities.density import check
from rho2prop.features import fingerprint, spring_network
from rho2prop.prediction.bundle.reader import load_bundle
from rho2prop.prediction.bundle.reference import library_versions, reference_densities

pytestmark = pytest.mark.slow

LIGHTGBM = "regressors/lightgbm/magpie_fingerprint"
TREES = f"{LIGHTGBM}/bulk_modulus_gpa.txt"


@pytest.fixture
def folder(tmp_path_factory, tmp_path):
    return shutil.copytree(finished_run(tmp_path_factory)[1], tmp_path / "bundle")


def refusal(folder) -> str:
    with pytest.raises(InputError) as error:
        load_bundle(folder).predict(made_density(), "x")
    return str(error.value)


def rolled(content, key):
    content[key] = np.roll(content[key], 1, axis=0)


MIXED = {
    "design of another fit": lambda f: replace_arrays(f, f"{LIGHTGBM}/design.npz", lambda c: rolled(c, "magpie.mean")),
    "trees of another target": lambda f: replace_file(f, TREES, (f / LIGHTGBM / "shear_modulus_gpa.txt").read_bytes()),
    "scores of another run": lambda f: replace_arrays(f, "intervals.npz", lambda c: with_first(c, 2 * first_scores(c))),
    "another training set": lambda f: replace_arrays(f, "training_space.npz", lambda c: rolled(c, "mean")),
    "another encoder": lambda f: replace_weights(
        f, "autoencoder/encoder.safetensors", lambda c: c.update({key: 1.1 * c[key] for key in c if "weight" in key})
    ),
}


@pytest.mark.parametrize("part", MIXED)
def test_parts_of_two_bundles_are_told_apart(folder, part):
    """All have the right form and checksum; only what they predict of the built-in crystals is not the bundle's."""
    MIXED[part](folder)
    bundle = load_bundle(folder)
    with refused("reference.npz"):
        bundle.predict(made_density(), "x")


def test_another_definition_of_a_feature_is_named_with_block_column_and_versions(folder, monkeypatch):
    quantiles = fingerprint.quantiles
    monkeypatch.setattr(
        fingerprint, "quantiles", lambda *args: {name: 1.0001 * value for name, value in quantiles(*args).items()}
    )
    manifest = manifest_of(folder)
    set_key(manifest, "features.reference.versions.numpy", "1.0")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    message = refusal(folder)
    assert "fingerprint, column 'log_rho_vq" in message
    assert f"numpy 1.0 / {library_versions()['numpy']}" in message
    monkeypatch.undo()
    monkeypatch.setattr(spring_network, "DECAY", 7.0)  # of a block that no model of this bundle reads
    assert len(load_bundle(folder).predict(made_density(), "x").table)


def test_another_table_of_elements_is_named(folder):
    manifest = manifest_of(folder)
    manifest["features"]["element_tables"]["tables.atomic_mass_u"] = "0" * 64
    (folder / "manifest.json").write_text(json.dumps(manifest))
    message = refusal(folder)
    assert "tables.atomic_mass_u" in message
    assert "pymatgen" in message


def test_built_in_crystals_are_sound_and_have_what_features_look_at():
    densities = reference_densities("valence", "gpaw 25.7.0")
    for name, density in densities.items():
        check(density, name)
        assert min(density.values.min(), density.promolecule.min()) > 0
        assert np.abs(density.values - density.promolecule).max() > 0.01
    lattice = densities["triclinic MgAlSiO2"].lattice
    assert np.abs(lattice - np.diag(np.diag(lattice))).min(initial=1, where=~np.eye(3, dtype=bool)) >= 0.1
    assert len({int(z) for density in densities.values() for z in density.numbers}) == 6
