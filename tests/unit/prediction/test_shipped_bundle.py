"""The models of the repository: small, complete, and with the same numbers as on the machine that trained them."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from standins.densities import gaussian_density
from standins.refusals import refused

from rho2prop.core.targets import ATOMIZATION_ENERGY, TARGETS
from rho2prop.densities.density import write_npz
from rho2prop.densities.transformations import ROTATIONS, rotated, supercell
from rho2prop.prediction.bundle.reader import load_bundle
from rho2prop.prediction.outputs import as_json, as_table
from rho2prop.prediction.pretrained import SHIPPED

pytestmark = pytest.mark.slow

EXPECTED = Path(__file__).parent / "shipped_predictions.json"  # of the density below, written where it was trained


@pytest.fixture(scope="module")
def bundle():
    return load_bundle(SHIPPED)


@pytest.fixture
def density():
    """Made up, with atoms that are half as structured."""
    made = gaussian_density()
    return replace(made, promolecule=(made.values + made.values.mean()) / 2)


def test_it_is_small_and_predicts_everything_with_each_regressor(bundle):
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file()) < 20e6
    models = {record["model"]: set(record["targets"]) for record in bundle.manifest["regressors"]}
    independent = {"bulk_modulus_gpa", "shear_modulus_gpa", ATOMIZATION_ENERGY}  # of the blend; the others follow
    assert models == {"blend": independent, "lightgbm": set(TARGETS), "attention_cnn": set(TARGETS)}
    assert (bundle.kind, bundle.engine.split()[0]) == ("valence", "gpaw")


def strings(value):
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from strings(one)
    elif isinstance(value, str):
        yield value


def test_it_names_no_place_of_the_machine_that_trained_it(bundle):
    assert not [text for text in strings(bundle.manifest) if text.startswith(("/", "~"))]
    assert bundle.manifest["config"]["materials"] == "materials.csv"


def test_a_density_without_atoms_is_predicted_by_the_models_that_need_none(bundle, density):
    found = bundle.predict(replace(density, promolecule=None), "made", allow_other_engine=True)
    assert any(warning.startswith("blend (") and "promolecule" in warning for warning in found.warnings)
    whole = bundle.predict(density, "made", allow_other_engine=True).table
    kept = whole[~whole["model"].str.startswith("blend")].reset_index(drop=True)
    assert found.table.equals(kept)


def test_atoms_that_do_not_fit_the_grid_leave_the_other_models(bundle, density):
    foreign = replace(density, promolecule=None, engine=bundle.engine)  # a grid that no cut-off of GPAW gives
    found = bundle.predict(foreign, "made")
    assert any("promolecule" in warning and "(20, 24, 27)" in warning for warning in found.warnings)
    assert "lightgbm" in set(found.table["model"])
    assert not found.table["model"].str.startswith("blend").any()


WITHOUT_GPAW = """
import sys
sys.modules["gpaw"] = None  # as where it is not installed
from rho2prop.__main__ import main
sys.exit(main(["predict", *sys.argv[1:]]))
"""


def test_without_gpaw_the_models_that_need_no_atoms_predict(bundle, density, tmp_path):
    """On the command line, in a process that cannot import it: the first rows are the best of the usable models."""
    silicon = np.full_like(density.numbers, 14)  # whose valence electrons are those of the density
    write_npz(replace(density, numbers=silicon, promolecule=None, engine=bundle.engine), tmp_path / "made.npz")
    arguments = [tmp_path / "made.npz", "--bundle", SHIPPED, "--format", "json", "--threads", "1"]
    child = subprocess.run(
        [sys.executable, "-c", WITHOUT_GPAW, *map(str, arguments)], capture_output=True, text=True, timeout=300
    )
    assert child.returncode == 0, child.stderr
    found = json.loads(child.stdout)[0]
    usable = [one["model"] for one in bundle.manifest["regressors"] if one["model"] != "blend"]
    models = [row["model"] for row in found["predictions"]]
    assert models[0] == usable[0]
    assert {model.removesuffix("_from_kg") for model in models} == set(usable)
    assert any("gpaw cannot be imported" in warning and "Install" in warning for warning in found["warnings"])
    assert any(warning.startswith("blend (") for warning in found["warnings"])


def test_a_dataset_that_is_missing_leaves_the_other_models(bundle, density, monkeypatch):
    import gpaw

    monkeypatch.setattr(gpaw, "setup_paths", [])
    found = bundle.predict(replace(density, promolecule=None, engine=bundle.engine), "made")
    assert any("dataset" in warning and "Li" in warning for warning in found.warnings)
    assert found.table["model"].iloc[0] == "lightgbm"
    assert not found.table["model"].str.startswith("blend").any()


def test_poissons_ratio_follows_from_each_models_k_and_g(bundle, density):
    found = bundle.predict(density, "made", allow_other_engine=True)
    ratios = json.loads(as_json([found]))[0]["poisson_ratio"]
    assert len(ratios) == len(bundle.manifest["regressors"])
    assert all(-1 < ratio < 0.5 for ratio in ratios.values())
    of_blend = found.table[found.table["model"].str.startswith("blend")]
    assert sorted(of_blend["target"]) == sorted(TARGETS)  # each once, E and Θ from K and G
    values = found.table[found.table["model"] == "blend"].set_index("target")["value"]
    k_gpa, g_gpa = values["bulk_modulus_gpa"], values["shear_modulus_gpa"]
    blend = next(ratio for name, ratio in ratios.items() if name.startswith("blend ("))
    assert blend == pytest.approx(youngs_gpa(k_gpa, g_gpa) / (2 * g_gpa) - 1)  # E = 2G(1 + ν)
    assert as_table([found]).count("ν, Poisson") == len(ratios)


def test_an_atomization_energy_without_its_zero_is_warned_of(bundle, density):
    helium = replace(density, numbers=np.full_like(density.numbers, 2))
    found, known = (bundle.predict(one, "made", allow_other_engine=True).warnings for one in (helium, density))
    assert any("cohesive energy" in warning for warning in found)
    assert not any("cohesive" in warning for warning in known)


@pytest.mark.parametrize("description", ["rotation", "supercell"])
def test_another_description_of_a_crystal_moves_no_prediction(bundle, density, description):
    other = rotated(density, ROTATIONS[7]) if description == "rotation" else supercell(density, (1, 1, 2))
    first, second = (bundle.predict(one, "made", allow_other_engine=True).table["value"] for one in (density, other))
    assert second.to_numpy() == pytest.approx(first.to_numpy(), rel=1e-4)


def youngs_gpa(k_gpa, g_gpa):
    return 9 * k_gpa * g_gpa / (3 * k_gpa + g_gpa)


def test_its_numbers_are_those_of_the_machine_that_trained_it(bundle, density):
    table = bundle.predict(density, "made", allow_other_engine=True).table
    found = {f"{row.model} {row.target}": [row.value, row.lower, row.upper] for row in table.itertuples()}
    expected = json.loads(EXPECTED.read_text())
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, rel=1e-5), name


def test_a_bundle_of_networks_alone_names_what_to_install(density, monkeypatch):
    bundle = load_bundle(SHIPPED)
    networks = [record for record in bundle.manifest["regressors"] if record["model"] == "attention_cnn"]
    only_networks = replace(bundle, manifest=bundle.manifest | {"regressors": networks})
    monkeypatch.setitem(sys.modules, "torch", None)  # as where it is not installed
    with refused("torch", 'pip install "rho2prop[train]"', source=SHIPPED.name, code="package"):
        only_networks.predict(replace(density, engine=bundle.engine), "made")
