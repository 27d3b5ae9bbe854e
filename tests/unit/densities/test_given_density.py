"""Densities that users give: of the right crystal, whole, within bounds and possible; CIFs with all their atoms."""

import gzip
import io
import tracemalloc
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from standins.density_files import COORDS, LATTICE_ANG, VOLUME_ANG3, chgcar, crystal_density, cube, header
from standins.refusals import refused

from rho2prop.core.errors import InputError
from rho2prop.crystals.structures import read_structure
from rho2prop.densities.density import Density, read_npz, write_npz
from rho2prop.densities.readers import parse_density, read_density
from rho2prop.dft.base import run_material
from rho2prop.dft.files import FilesSettings
from rho2prop.prediction.inputs import read_input

TOTAL = crystal_density()
WHOLE = chgcar([TOTAL])
SILICON = Structure(LATTICE_ANG, ["Si", "Si"], COORDS)


def silicon_density() -> Density:
    """The density of ``WHOLE``."""
    return Density(TOTAL, LATTICE_ANG, np.array([14, 14]), COORDS, 8.0, "valence", "test")


# row 18: the density of another crystal


def run_files(tmp_path, structure: Structure):
    (tmp_path / "CHGCAR").write_text(WHOLE)
    structure.to(str(tmp_path / "POSCAR"), fmt="poscar")
    settings = FilesSettings("valence", "as_given")
    return run_material("m", tmp_path / "POSCAR", tmp_path / "CHGCAR", "files", settings, tmp_path / "m")


@pytest.mark.parametrize(
    "coords", [[[0, 0, 0], [0.5, 0.5, 0.5]], [[0.875, 0.875, 0.875], [0.18, 0.18, 0.18]], [[0, 0, 0], [0.3, 0.2, 0.25]]]
)
def test_the_density_of_another_crystal_is_set_aside(tmp_path, coords):
    outcome = run_files(tmp_path, Structure(LATTICE_ANG, ["Si", "Si"], coords))
    assert outcome.status == "failed"
    assert "CHGCAR" in outcome.reason
    assert not (tmp_path / "m" / "density.npz").exists()


def same_crystals() -> dict[str, Structure]:
    other_vectors = SILICON.copy()
    other_vectors.make_supercell([[1, 1, 0], [0, 1, 0], [0, -1, 1]], to_unit_cell=False)
    rounded = SILICON.copy()
    rounded.translate_sites([0], [0.004, -0.003, 0.002])
    strained = SILICON.copy()
    strained.apply_strain(0.002)
    return {
        "permuted": Structure(LATTICE_ANG, ["Si", "Si"], COORDS[::-1]),
        "translated by lattice vectors": Structure(
            LATTICE_ANG, ["Si", "Si"], COORDS + np.array([[1, 0, -2], [0, 3, 0]])
        ),
        "other origin": Structure(LATTICE_ANG, ["Si", "Si"], COORDS + 0.1),
        "other vectors": other_vectors,
        "rounded": rounded,
        "strained": strained,
        "turned": Structure(Lattice.from_parameters(*SILICON.lattice.parameters), ["Si", "Si"], COORDS),
    }


@pytest.mark.parametrize("name", same_crystals())
def test_the_same_crystal_however_written_is_accepted(tmp_path, name):
    assert run_files(tmp_path, same_crystals()[name]).status == "converged"


# row 19: atoms on no site

AMMONIUM = """data_x
_chemical_formula_sum '{formula}'
{units}
_symmetry_space_group_name_H-M 'P 1'
_cell_length_a 3.86
_cell_length_b 3.86
_cell_length_c 3.86
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_attached_hydrogens
Cl1 Cl 0 0 0 0
N1 N 0.5 0.5 0.5 {hydrogens}
{more}
"""


@pytest.mark.parametrize(
    ("formula", "units", "hydrogens", "more", "data"),
    [
        ("Cl H4 N", "", 4, "", ["H"]),
        ("Cl H4 N", "", 0, "", ["H"]),
        ("Cl D4 N", "", 0, "", ["H"]),
        ("Cl H4 N", "", 0, "H1 H 0.6 0.6 0.6 0", ["H"]),
        ("?", "", 4, "", [4]),
        ("Cl N", "_cell_formula_units_Z 2", 0, "", [2]),
        ("Cl N2", "", 0, "", ["N"]),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_cif_with_atoms_on_no_site_is_refused(tmp_path, formula, units, hydrogens, more, data):
    path = tmp_path / "x.cif"
    path.write_text(AMMONIUM.format(formula=formula, units=units, hydrogens=hydrogens, more=more))
    with refused(*data, source="x.cif", code="formula"):
        read_structure(path)


@pytest.mark.parametrize(
    ("formula", "units"),
    [
        ("Cl N", "_cell_formula_units_Z 1"),
        ("?", ""),
        ("Cl2 N2", ""),
        ("Cl N", ""),
        ("(Cl N)n", ""),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_cif_with_all_its_atoms_is_read(tmp_path, formula, units):
    (tmp_path / "x.cif").write_text(AMMONIUM.format(formula=formula, units=units, hydrogens=0, more=""))
    assert len(read_structure(tmp_path / "x.cif")) == 2


# headers that claim more than the file holds


def peak_bytes(action) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(InputError):
            action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("CHGCAR", header(elements="  Si\n 999999999\n") + "\n 32 32 32\n 0.1"),
        ("CHGCAR", header(elements="  Si O\n 2 999999999999999999\n") + "\n 32 32 32\n 0.1"),
        ("CHGCAR", header() + "\n 99999 99999 99999\n 0.1\n"),
        ("CHGCAR", WHOLE.replace("  13\n", "9999\n", 1)),
        ("a.cube", cube(TOTAL).replace("\n2 0.0", "\n999999999 0.0")),
        ("a.cube", cube(TOTAL).replace("\n6 ", "\n600000000 ")),
        ("a.cube", cube(TOTAL).replace("\n2 0.0", "\n1e300 0.0")),
    ],
)
def test_headers_are_bounded_by_the_file_before_memory_is_taken(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert peak_bytes(lambda: read_density(tmp_path / name)) < 2**22
    if name == "CHGCAR":
        (tmp_path / "POSCAR").write_text(content.replace("    2", "    999999999"))
        assert peak_bytes(lambda: read_structure(tmp_path / "POSCAR")) < 2**22


@pytest.mark.slow
def test_bombs_are_refused_before_they_unfold(tmp_path):
    bomb = tmp_path / "CHGCAR.gz"
    with gzip.open(bomb, "wb", compresslevel=1) as file:
        file.write(header().encode() + b"\n 800 800 800\n")
        for _ in range(80):
            file.write(b"0.0 " * 2**18)
    assert bomb.stat().st_size < 2**21
    assert peak_bytes(lambda: read_density(bomb)) < 3 * 2**26
    density = silicon_density()
    write_npz(density, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as archive:
        arrays = dict(archive)
    arrays["density"] = np.zeros((512, 256, 256), dtype=np.float32)
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    assert peak_bytes(lambda: read_npz(tmp_path / "a.npz")) < 2**22


def test_an_array_whose_header_claims_more_is_refused(tmp_path):
    write_npz(silicon_density(), tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    array = io.BytesIO()
    np.lib.format.write_array_header_1_0(array, {"descr": "<f4", "fortran_order": False, "shape": (60000, 50000, 70)})
    members["density.npy"] = array.getvalue() + bytes(800)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    assert peak_bytes(lambda: read_npz(tmp_path / "a.npz")) < 2**22


# densities that cannot be


def test_unsound_densities_are_refused(tmp_path):
    density = silicon_density()
    flat = np.full(TOTAL.shape, 8 / VOLUME_ANG3)
    changes = {
        "overlap": {"frac_coords": np.array([[0.1, 0.2, 0.3], [0.1, 0.2, 0.35]])},
        "overlap ": {"frac_coords": np.array([[0.999, 0.2, 0.3], [0.001, 0.2, 0.3]])},
        "flat": {"values": flat},
    }
    for code, change in changes.items():
        write_npz(replace(density, **change), tmp_path / "a.npz")
        for reading in (lambda: read_density(tmp_path / "a.npz"), lambda: read_input(tmp_path / "a.npz", None)):
            with refused(source="a.npz", code=code.strip()):
                reading()
    for change in (
        {"frac_coords": np.array([[0.1, 0.2, 1e300], [0.6, 0.7, 0.8]])},
        {"lattice": density.lattice * 1e200},
        {"values": np.where(TOTAL == TOTAL, np.float64(1e308), 0), "lattice": density.lattice},
        {
            "values": np.stack([np.full((5, 7), sign * 1.7e308) for sign in (1, 1, 1, -1, -1, -1)])
        },  # integral not a number
    ):
        with pytest.raises(InputError), np.errstate(all="ignore"):
            write_npz(replace(density, **change), tmp_path / "b.npz")
    assert not (tmp_path / "b.npz").exists()


def test_files_of_a_calculation_are_read_whatever_their_count(tmp_path):
    # the engine vasp knows Σ ZVAL and compares itself
    (tmp_path / "CHGCAR").write_text(chgcar([crystal_density(11.0)]))
    assert parse_density(tmp_path / "CHGCAR").n_electrons == 11
