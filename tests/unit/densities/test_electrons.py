"""Counts of electrons: the frozen tables are those of the installed potentials, and counts tell densities apart."""

import gzip
import importlib.util
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from monty.serialization import loadfn
from pymatgen.core import Element
from pymatgen.io.vasp.inputs import POTCAR_STATS_PATH
from standins.refusals import refused

from rho2prop.densities.density import Density
from rho2prop.densities.electrons import GPAW_PBE, SYMBOLS, VASP_PBE, check_electrons, parse_table, possible_electrons


@pytest.mark.slow
def test_table_of_vasp_is_that_of_the_installed_metadata():
    made, potentials = {}, loadfn(POTCAR_STATS_PATH)
    for functional in ("PBE", "PBE_52", "PBE_54", "PBE_64"):
        for potential in (one for variants in potentials[functional].values() for one in variants):
            symbol, valence = potential["symbol"].split("_")[0], float(potential["ZVAL"])
            if Element.is_valid_symbol(symbol) and valence.is_integer():
                made.setdefault(symbol, set()).add(int(valence))
    assert parse_table(VASP_PBE) == {symbol: tuple(sorted(numbers)) for symbol, numbers in made.items()}


@pytest.mark.slow
def test_table_of_gpaw_is_that_of_the_installed_datasets():
    folder = Path(importlib.util.find_spec("gpaw_data").submodule_search_locations[0]) / "setups"
    made = {}
    for path in folder.glob("*.PBE.gz"):
        with gzip.open(path) as file:
            match = re.search(rb'<atom symbol="(\w+)"[^>]*valence="([\d.]+)"', file.read(5000))
        made.setdefault(match[1].decode(), set()).add(int(float(match[2])))
    assert parse_table(GPAW_PBE) == {symbol: tuple(sorted(numbers)) for symbol, numbers in made.items()}


def test_symbols_are_in_the_order_of_the_nuclei():
    assert [Element.from_Z(number).symbol for number in range(1, 119)] == SYMBOLS


def test_counts_need_neither_pymatgen_nor_gpaw():
    code = (
        "import sys; from rho2prop.densities.electrons import possible_electrons; "
        "assert possible_electrons({'Si': 2}) == {8, 20, 24}; "
        "assert not {'pymatgen.io.vasp', 'gpaw', 'ase', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def made_density(formula: dict[str, int], n_electrons: float, kind: str = "valence") -> Density:
    numbers = np.array([Element(symbol).Z for symbol, count in formula.items() for _ in range(count)])
    coords = np.linspace(0, 1, len(numbers), endpoint=False)[:, None] * np.ones(3)
    wave = 1 + 0.5 * np.cos(2 * np.pi * np.arange(6) / 6)[:, None, None] * np.ones((1, 6, 6))
    return Density(wave * n_electrons / 1000, 10 * np.eye(3), numbers, coords, n_electrons, kind, "test")


@pytest.mark.parametrize(
    ("formula", "n_electrons", "kind", "code", "data"),
    [
        ({"Ni": 1}, 2, "valence", "bands", ["2", "10, 16, 18"]),
        ({"Si": 2}, 6, "valence", "bands", ["6"]),  # three of four bands
        ({"Ni": 2, "O": 2}, 22, "valence", "one_spin", ["22"]),
        ({"Si": 2}, 4, "valence", "one_spin", ["4"]),
        ({"Si": 2}, 28, "valence", "all_electron", ["28", "all_electron"]),
        ({"Mg": 1, "O": 1}, 20, "valence", "all_electron", ["20"]),  # 2 more than the largest valence, and not charged
        ({"Ca": 1, "F": 2}, 19, "promolecule", "electrons", ["16, 22, 24"]),
        ({"Si": 2}, 8, "all_electron", "electrons", ["8", "28"]),
        ({"Si": 2}, 24, "all_electron", "electrons", ["24", "28"]),
        ({"H": 1}, 2, "valence", "electrons", ["2"]),
    ],
)
def test_a_count_that_no_potentials_give_is_refused(formula, n_electrons, kind, code, data):
    with refused(*data, source="rho.cube", code=code):
        check_electrons(made_density(formula, float(n_electrons), kind), "rho.cube")


@pytest.mark.parametrize(
    ("formula", "n_electrons", "charge"),
    [({"Si": 2}, 7.0, "+1 e"), ({"Si": 2}, 9.0, "-1 e"), ({"Si": 2}, 7.5, "+0.5 e"), ({"Si": 64}, 258.0, "-2 e")],
)
def test_a_charged_cell_is_said(formula, n_electrons, charge):
    (remark,) = check_electrons(made_density(formula, n_electrons), "rho.cube")
    assert charge in remark


@pytest.mark.parametrize(
    ("formula", "n_electrons", "kind"),
    [
        ({"Si": 2}, 8.0, "valence"),
        ({"Si": 2}, 28.0, "all_electron"),
        ({"Na": 1, "Cl": 1}, 14.0, "valence"),  # Na_pv
        ({"Fe": 2, "O": 3}, 34.0, "promolecule"),
        ({"I": 2}, 34.0, "valence"),  # ONCV with 4d10
        ({"Si": 2}, 8.004, "valence"),
    ],
)
def test_counts_of_potentials_pass_without_a_word(formula, n_electrons, kind):
    assert check_electrons(made_density(formula, n_electrons, kind), "x") == ()


def test_an_element_without_potential_is_said():
    assert possible_electrons({"Es": 1}) == set()
    density = replace(made_density({"Si": 2}, 8.0), numbers=np.array([99, 99]))
    assert "Es" in check_electrons(density, "x")[0]
