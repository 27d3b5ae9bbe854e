"""Frozen tables of the elements: the installed libraries' data today, and features equal to them to the last bit."""

import json
import tomllib

import numpy as np
import pytest
from pymatgen.core import Composition, Element, Lattice, Structure
from standins.descriptors import descriptor_tables
from standins.refusals import refused

from rho2prop.crystals import element_tables
from rho2prop.crystals.elasticity import mean_atomic_mass_u
from rho2prop.crystals.element_sources import installed_tables


@pytest.fixture(scope="module")
def crystals():
    """Crystals without symmetry of up to six elements, every element of the covalent radii among them."""
    rng = np.random.default_rng(3)
    made = {}
    for first in range(1, 97):
        numbers = [first, *rng.choice(rng.integers(1, 97, 6), rng.integers(1, 10))]
        lattice = Lattice.from_parameters(*rng.uniform(4, 7, 3), *rng.uniform(75, 105, 3))
        made[f"s{first}"] = Structure(lattice, numbers, rng.uniform(size=(len(numbers), 3)))
    return made


def test_the_installed_libraries_hold_the_frozen_numbers():
    frozen, installed = json.loads(element_tables.PATH.read_text()), installed_tables()
    assert frozen["symbols"] == installed["symbols"]
    differing = []
    for group in ("tables", "magpie"):
        assert list(frozen[group]) == list(installed[group])
        for name, values in frozen[group].items():
            pairs = zip(frozen["symbols"], values, installed[group][name], strict=True)
            differing += [(name, symbol, ours, theirs) for symbol, ours, theirs in pairs if ours != theirs]
    versions = frozen["versions"], installed["versions"]
    assert not differing, f"table, element, frozen, installed; made from {versions[0]}, installed are {versions[1]}"


@pytest.mark.slow
def test_magpie_is_matminers_to_the_last_bit(crystals):
    from matminer.featurizers.composition import ElementProperty

    featurizer = ElementProperty.from_preset("magpie", impute_nan=False)
    found = descriptor_tables(crystals, {"magpie"})["magpie"]
    assert list(found.columns) == featurizer.feature_labels()
    for name, structure in crystals.items():
        np.testing.assert_array_equal(found.loc[name], featurizer.featurize(structure.composition), err_msg=name)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:No data available", "ignore:No Pauling")
def test_means_over_elements_are_those_of_pymatgen_to_the_last_bit(crystals):
    tables = descriptor_tables(crystals, {"elemental_solids", "structure"})
    found, structures = tables["elemental_solids"], tables["structure"]
    for name, structure in crystals.items():
        elements, shares = zip(*structure.composition.fractional_composition.items(), strict=True)
        for column, attribute in (
            ("bulk_modulus_gpa_max", "bulk_modulus"),
            ("shear_modulus_gpa_max", "rigidity_modulus"),
        ):
            known = [float(value) for value in (getattr(one, attribute) for one in elements) if value is not None]
            np.testing.assert_array_equal(found.loc[name, column], max(known, default=np.nan), err_msg=name)
        negativity = np.array([element.X for element in elements], dtype=float)
        mean = np.average(negativity, weights=shares)
        variance = np.average((negativity - mean) ** 2, weights=shares)
        np.testing.assert_array_equal(found.loc[name, "electronegativity_variance"], variance)
        assert structures.loc[name, "mass_density_g_cm3"] == float(structure.density)


@pytest.mark.parametrize("formula", ["MgO", "Ca(OH)2", "CeAl3", "LaB6", "UO2", "H2"])
def test_masses_are_those_of_pymatgen_to_the_last_bit(formula):
    composition = Composition(formula)
    assert mean_atomic_mass_u(formula) == float(composition.weight / composition.num_atoms)


def test_other_data_of_the_libraries_change_no_feature(crystals, monkeypatch):
    """What an update of pymatgen would do."""
    some = dict(list(crystals.items())[:8])
    blocks = {"magpie", "composition", "cohesive_energy", "elemental_solids", "structure", "spring_network"}
    before = descriptor_tables(some, blocks)
    from pymatgen.analysis.local_env import CovalentRadius

    monkeypatch.setattr(CovalentRadius, "radius", {symbol: 1.0 for symbol in CovalentRadius.radius})
    for symbol in {element.symbol for structure in some.values() for element in structure.composition}:
        for attribute in ("bulk_modulus", "rigidity_modulus", "molar_volume", "X", "atomic_mass"):
            monkeypatch.setitem(Element(symbol).__dict__, attribute, 7.0)
    after = descriptor_tables(some, blocks)
    assert set(before) == blocks
    for block, table in before.items():
        np.testing.assert_array_equal(after[block], table, err_msg=block)


def test_an_element_without_a_radius_is_named():
    berkelium = Structure(Lattice.cubic(3), ["Bk"], [[0, 0, 0]])
    for block in ("structure", "spring_network"):
        with refused("Bk", source="bk.cif"):
            descriptor_tables({"bk.cif": berkelium}, {block})


def test_units_are_those_of_the_names():
    """Iron by the books; its radius is the mean of both spin states."""
    values = {"bulk_modulus_gpa": 170, "shear_modulus_gpa": 82, "molar_volume_cm3": 7.09, "atomic_mass_u": 55.845}
    values |= {"electronegativity": 1.83, "covalent_radius_ang": 1.42, "cohesive_energy_ev_per_atom": 4.28}
    for name, value in values.items():
        assert element_tables.of_elements(name, 26) == pytest.approx(value, rel=1e-3), name


def test_an_installed_package_carries_the_file():
    root = element_tables.PATH.parents[2]
    declared = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    patterns = [*declared.get("*", []), *declared.get("rho2prop.crystals", [])]
    assert any(element_tables.PATH.match(pattern) for pattern in patterns)
