"""Structures: three formats give one crystal, and what cannot be computed is named."""

import json

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter
from pymatgen.io.vasp.inputs import Poscar

from rho2prop.density import Density
from rho2prop.errors import InputError
from rho2prop.structures import read_structure, structure_from_density

ROCKSALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.21), ["Mg2+", "O2-"], [[0, 0, 0], [0.5, 0.5, 0.5]])
POSCAR = """silicon
1.0
0.0 2.715 2.715
2.715 0.0 2.715
2.715 2.715 0.0
Si
2
direct
0.0 0.0 0.0
0.25 0.25 0.25
"""


def test_three_formats_give_the_same_crystal(tmp_path):
    CifWriter(ROCKSALT, symprec=1e-3).write_file(tmp_path / "mgo.cif")
    Poscar(ROCKSALT).write_file(tmp_path / "mgo.vasp")
    (tmp_path / "mgo.json").write_text(json.dumps(ROCKSALT.as_dict()))
    for name in ("mgo.cif", "mgo.vasp", "mgo.json"):
        structure = read_structure(tmp_path / name)
        assert structure.formula == "Mg4 O4"
        assert structure.volume == pytest.approx(4.21**3, rel=1e-5)
        distances = structure.distance_matrix[np.triu_indices(8, 1)]
        assert distances.min() == pytest.approx(4.21 / 2, rel=1e-4)
        assert all(site.specie.symbol == str(site.specie) for site in structure)


def refused(path, *words):
    with pytest.raises(InputError) as error:
        read_structure(path)
    for word in (path.name, *words):
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (POSCAR, "", ["empty"]),
        (POSCAR, "no structure here\n", ["line 1", "scale factor"]),
        ("Si\n2\n", "2\n", ["line 6", "element symbols"]),
        ("Si\n", "X\n", ["X", "not an element"]),
        ("0.25 0.25 0.25\n", "", ["line 9", "atom 2 of 2"]),
        ("0.25 0.25 0.25", "nan 0.25 0.25", ["not a number"]),
        ("0.25 0.25 0.25", "0.0 0.0 0.02", ["overlapping", "Si1", "Si2"]),
        ("0.25 0.25 0.25", "1.0 0.0 0.99", ["overlapping"]),
        ("1.0\n", "0.1\n", ["Å³"]),
        ("2.715 2.715 0.0", "0.0 2.715 2.715", ["Å³"]),
    ],
)
def test_malformed_poscar_is_named(tmp_path, old, new, words):
    path = tmp_path / "POSCAR"
    path.write_text(POSCAR.replace(old, new))
    refused(path, *words)


def test_disordered_crystal_is_refused(tmp_path):
    alloy = Structure(Lattice.cubic(3.6), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])
    (tmp_path / "alloy.json").write_text(json.dumps(alloy.as_dict()))
    CifWriter(alloy).write_file(tmp_path / "alloy.cif")
    refused(tmp_path / "alloy.json", "partially occupied", "Cu")
    refused(tmp_path / "alloy.cif", "partially occupied", "Cu")


def test_other_files_are_refused(tmp_path):
    refused(tmp_path / "missing.cif", "no such")
    for name, content in [
        ("x.cif", "data_x\n"),
        ("x.json", "{}"),
        ("y.json", "{"),
        ("x.xyz", "1\n\nH 0 0 0\n"),
    ]:
        (tmp_path / name).write_text(content)
        refused(tmp_path / name)
    (tmp_path / "x.vasp").write_bytes(b"\xff\xfe\x00\x81")
    refused(tmp_path / "x.vasp", "text")


def test_json_does_not_import_what_it_names(tmp_path):
    content = ROCKSALT.as_dict()
    content["sites"][0]["properties"] = {"x": {"@module": "no_such_module", "@class": "Anything"}}
    (tmp_path / "mgo.json").write_text(json.dumps(content))
    assert read_structure(tmp_path / "mgo.json").site_properties == {}


def test_structure_of_a_density_has_its_atoms():
    lattice = np.diag([3.0, 4.0, 5.0])
    values = np.full((4, 4, 4), 19 / 60)
    coords = np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]])
    density = Density(values, lattice, np.array([11, 17]), coords, 19.0, "valence", "test")
    structure = structure_from_density(density)
    assert structure.formula == "Na1 Cl1"
    assert structure.volume == pytest.approx(60.0)
