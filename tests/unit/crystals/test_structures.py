"""Structures: three formats give one crystal, and what cannot be computed is named."""

import json

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter
from pymatgen.io.vasp.inputs import Poscar
from standins.crystals import face_centred_cubic
from standins.refusals import refused

from rho2prop.crystals.structures import read_structure, structure_from_density
from rho2prop.densities.density import Density

ROCKSALT = face_centred_cubic(4.21, "Mg2+", "O2-")
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


def check(path, *data, code=None):
    with refused(path.name, *data, code=code):
        read_structure(path)


@pytest.mark.parametrize(
    ("old", "new", "code", "data"),
    [
        (POSCAR, "", "empty", []),
        (POSCAR, "title\n", None, ["line 1"]),
        ("Si\n2\n", "2\n", None, ["line 6"]),
        ("Si\n", "X\n", "element", ["X"]),
        ("0.25 0.25 0.25\n", "", None, ["line 9", "2"]),
        ("0.25 0.25 0.25", "nan 0.25 0.25", None, ["line 10", "nan"]),
        ("0.25 0.25 0.25", "0.0 0.0 0.02", "overlap", ["Si1", "Si2"]),
        ("0.25 0.25 0.25", "1.0 0.0 0.99", "overlap", []),
        ("1.0\n", "0.1\n", None, ["Å³"]),
        ("2.715 2.715 0.0", "0.0 2.715 2.715", None, ["Å³"]),
    ],
)
def test_malformed_poscar_is_named(tmp_path, old, new, code, data):
    path = tmp_path / "POSCAR"
    path.write_text(POSCAR.replace(old, new))
    check(path, *data, code=code)


def test_a_wide_cell_is_searched_for_overlaps_in_little_memory(tmp_path):
    """A list of neighbours of pymatgen would take 700 GB here."""
    path = tmp_path / "POSCAR"
    wide = POSCAR.replace("2.715", "1500").replace("0.25 0.25 0.25", "0.0003 0.0 0.0")
    path.write_text(wide)
    assert read_structure(path).volume == pytest.approx(2 * 1500**3)
    path.write_text(wide.replace("0.0003", "0.0001"))
    check(path, "Si1", "Si2", "0.212", code="overlap")


def test_a_cell_thinner_than_atoms_is_refused(tmp_path):
    path = tmp_path / "POSCAR"
    path.write_text(POSCAR.replace("2.715 2.715 0.0", "2.975 2.975 5.17"))
    check(path, "0.446", "0.5")


CELL = "".join(f"_cell_length_{x} 4.2\n" for x in "abc") + "".join(
    f"_cell_angle_{x} 90\n" for x in ("alpha", "beta", "gamma")
)
SITES = "loop_\n_atom_site_label\n_atom_site_type_symbol\n" + "".join(f"_atom_site_fract_{x}\n" for x in "xyz")
P1 = "_symmetry_space_group_name_H-M 'P 1'\n"
ATOMS = "Mg1 Mg 0 0 0\nO1 O 0.5 0.5 0.5\n"
WITH_OCCUPANCY = SITES + "_atom_site_occupancy\n" + ATOMS.replace(" 0\n", " 0 1\n")
BLOCK = f"data_a\n{CELL}{P1}{SITES}{ATOMS}"


@pytest.mark.parametrize(
    ("content", "code", "data"),
    [
        (BLOCK + BLOCK.replace("4.2", "5.2"), "several", [2]),
        (BLOCK + BLOCK.replace("data_a", "data_b").replace("O1 O 0.5", "O1 O ?"), "several", [2]),
        (BLOCK.replace("_cell_length_a", "_x") + BLOCK.replace("data_a", "data_b"), "several", [2]),
        (BLOCK.replace("O1 O", "O1 ."), "element", ["O1"]),
        (BLOCK.replace("O1 O", "O1 Wat"), "element", ["O1", "'Wat'"]),
        (
            BLOCK.replace("_atom_site_type_symbol\n", "").replace("Mg1 Mg", "Mg1").replace("O1 O", "OH1"),
            "element",
            ["OH1"],
        ),
        (f"data_a\n{CELL}{P1}{WITH_OCCUPANCY}".replace("0.5 0.5 0.5", "0.5 0.5 0.5 ."), "occupancy", ["O1", "'.'"]),
        (f"data_a\n{CELL}{P1}{WITH_OCCUPANCY}".replace("0.5 0.5 0.5", "0.5 0.5 0.5 0.0"), "occupancy", ["O1", "'0.0'"]),
        (f"data_a\n{CELL}{P1}{WITH_OCCUPANCY}".replace("0.5 0.5 0.5", "0.5 0.5 0.5 1.2"), "unreadable", ["1.2"]),
        (BLOCK.replace("'P 1'", "'F m -3 x'"), "symmetry", ["F m -3 x", "_symmetry_equiv_pos_as_xyz"]),
        (BLOCK + "_chemical_formula_sum 'Mg1 O1 H2'\n", "formula", ["H"]),
        (BLOCK + "_chemical_formula_sum 'Mg1 O1'\n_cell_formula_units_Z 4\n", "formula", [4]),
        (
            f"data_a\n{CELL}{P1}_chemical_formula_sum 'Mg1 O1'\n"
            + WITH_OCCUPANCY.replace("0.5 0.5 0.5", "0.5 0.5 0.5 0.5"),
            "occupancy",
            [],
        ),
    ],
)
def test_a_cif_that_would_be_read_in_part_is_refused(tmp_path, content, code, data):
    path = tmp_path / "mgo.cif"
    path.write_text(BLOCK)
    assert read_structure(path).formula == "Mg1 O1"
    path.write_text(content)
    check(path, *data, code=code)


def test_more_positions_than_atoms_and_several_frames_are_refused(tmp_path):
    path = tmp_path / "POSCAR"
    path.write_text(POSCAR + "0.5 0.5 0.0\n")
    check(path, "line 11", "0.5 0.5 0.0")
    path.write_text(POSCAR + POSCAR)
    check(path, "line 11", code="frames")
    velocities = "0.0 0.1 0.0\n" * 2
    for tail in ("\n", "\n" + velocities, "Cartesian\n" + velocities, f"Lattice velocities\n1\n{velocities * 3}\n"):
        path.write_text(POSCAR + tail)
        assert read_structure(path).formula == "Si2"


def test_flags_of_selective_dynamics_are_no_elements(tmp_path):
    path = tmp_path / "POSCAR"
    flagged = POSCAR.replace("Si\n2", "2").replace(" 0.0\n0.25 0.25 0.25", " 0.0 T T F\n0.25 0.25 0.25 F F F")
    path.write_text(flagged)
    check(path, "line 6")
    path.write_text(flagged.replace("T T F", "Si").replace("F F F", "Si"))
    assert read_structure(path).formula == "Si2"


def test_charged_crystals_and_records_around_one_are_refused(tmp_path):
    path = tmp_path / "mgo.json"
    path.write_text(json.dumps(ROCKSALT.as_dict() | {"charge": 2}))
    check(path, 2, code="charge")
    for content in ({"structure": ROCKSALT.as_dict()}, [ROCKSALT.as_dict()]):
        path.write_text(json.dumps(content))
        check(path, "Structure.to")


def test_disordered_crystal_is_refused(tmp_path):
    alloy = Structure(Lattice.cubic(3.6), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])
    (tmp_path / "alloy.json").write_text(json.dumps(alloy.as_dict()))
    CifWriter(alloy).write_file(tmp_path / "alloy.cif")
    check(tmp_path / "alloy.json", "Cu:0.5", code="occupancy")
    check(tmp_path / "alloy.cif", "Cu:0.5", code="occupancy")


def test_other_files_are_refused(tmp_path):
    check(tmp_path / "missing.cif", code="missing")
    for name, content in [
        ("x.cif", "data_x\n"),
        ("x.json", "{}"),
        ("y.json", "{"),
        ("x.xyz", "1\n\nH 0 0 0\n"),
    ]:
        (tmp_path / name).write_text(content)
        check(tmp_path / name)
    (tmp_path / "x.vasp").write_bytes(b"\xff\xfe\x00\x81")
    check(tmp_path / "x.vasp", code="format")


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
