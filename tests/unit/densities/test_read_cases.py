"""Files that were once read wrongly, and all of their kind: the right value, or a refusal that says the true fix."""

import bz2
import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.units import Bohr
from pymatgen.core import Structure
from pymatgen.io.vasp.inputs import Poscar
from pymatgen.io.vasp.outputs import Chgcar
from standins.density_files import (
    COORDS,
    LATTICE_ANG,
    VOLUME_ANG3,
    augmentation,
    block,
    chgcar,
    crystal_density,
    cube,
    grid_line,
    header,
    word,
)
from standins.refusals import refused

from rho2prop.core.errors import InputError
from rho2prop.crystals.structures import read_structure
from rho2prop.densities.density import write_npz
from rho2prop.densities.readers import read_density
from rho2prop.dft.base import run_material
from rho2prop.dft.files import FilesSettings
from rho2prop.prediction.inputs import is_structure, read_input

TOTAL = crystal_density()
SPIN = 0.2 * np.roll(TOTAL, 1, axis=0)
WHOLE = chgcar([TOTAL])
SILICON = Structure(LATTICE_ANG, ["Si", "Si"], COORDS)


@pytest.fixture
def read(tmp_path):
    def read(content, name="CHGCAR", **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_density(path, **options)

    return read


@pytest.fixture
def check(read):
    def check(content, *data, name="CHGCAR", code=None, **options):
        with refused(name, *data, code=code):
            read(content, name, **options)

    return check


def assert_silicon(density, values=TOTAL, electrons=8):
    assert density.n_electrons == electrons
    assert density.volume_ang3 == pytest.approx(VOLUME_ANG3, abs=1e-3)
    assert density.numbers.tolist() == [14, 14]
    np.testing.assert_allclose(density.frac_coords, COORDS, atol=1e-6)
    np.testing.assert_allclose(density.values, values, rtol=2e-6, atol=1e-9)


# row 01: numbers whose exponent lost its E


@pytest.mark.parametrize("text", ["0.12345678901-100", "-.12345678901-100", "-0.1234567890-123", "0.00000000000D+00"])
@pytest.mark.parametrize("place", [0, 77, 209])
def test_exponents_without_e_are_read(read, text, place):
    values = TOTAL.copy()
    values.ravel(order="K")[np.ravel_multi_index(np.unravel_index(place, TOTAL.shape, order="F"), TOTAL.shape)] = 0
    values *= 8 / (values.mean() * VOLUME_ANG3)
    written = chgcar([values], augmented=place != 209)
    zero = " " + word(0.0)
    assert written.count(zero) == 1
    assert_silicon(read(written.replace(zero, f" {text}")), values)


def test_exponents_without_e_are_read_in_every_block_and_in_cubes(read):
    text = chgcar([TOTAL, SPIN])
    for number in {line.split()[0] for line in text.split("\n")[70:] if "E" in line and "aug" not in line}:
        head, tail = text[: len(chgcar([TOTAL], augmented=False))], text[len(chgcar([TOTAL], augmented=False)) :]
        assert_silicon(read(head + tail.replace(number, "0.12345678901-100", 1)))
    values = TOTAL.copy()
    values[2, 3, 4] = 0
    values *= 8 / (values.mean() * VOLUME_ANG3)
    density = read(cube(values).replace("0.0000000E+00", "0.123456-101", 1), "a.cube")
    np.testing.assert_allclose(density.values, values, rtol=1e-5, atol=1e-8)


def test_a_huge_exponent_without_e_is_refused_and_glued_numbers_are_named(check):
    first = word(TOTAL[0, 0, 0] * VOLUME_ANG3)
    check(WHOLE.replace(first, "0.15000000000+102", 1))
    check(WHOLE.replace(f" {first}", f"{first}-0.5", 1), "line 13", f"{first}-0.5")
    check(WHOLE.replace(first, "0.15000000000-10", 1), "line 13", "0.15000000000-10")
    check(WHOLE.replace(first, "0.1500x00000E+01", 1), "line 13", "0.1500x00000E+01")


# row 02: a block ends where its line ends, and what follows is of a known kind


@pytest.mark.parametrize("shape", [(6, 5, 7), (3, 3, 7), (4, 4, 3)])  # last lines of 5, 3 and 3 numbers
@pytest.mark.parametrize("augmented", [True, False])
def test_any_lost_or_doubled_line_is_refused_or_harmless(tmp_path, shape, augmented):
    total = crystal_density(shape=shape)
    lines = chgcar([total, 0.2 * total], augmented=augmented).splitlines(keepends=True)
    path, n_refused = tmp_path / "CHGCAR", 0
    for i in range(10, len(lines)):
        for changed in (lines[:i] + lines[i + 1 :], lines[: i + 1] + lines[i:]):
            path.write_text("".join(changed))
            try:
                density = read_density(path)
            except InputError:
                n_refused += 1
            else:
                np.testing.assert_allclose(density.values, total, rtol=2e-6)
                is_blank, is_moments = lines[i] == "\n", lines[i].split()[:1] == ["0.1000000E+00"]
                assert is_blank or (is_moments and len(changed) < len(lines))
    assert n_refused >= 2 * (len(lines) - 10) - 3


def test_a_grid_line_or_moments_inside_a_block_are_refused(check):
    total = crystal_density(shape=(3, 3, 7))  # 63 numbers: the last line has three
    text = chgcar([total, 0.2 * total], augmented=False, moments=())
    lines = text.split("\n")
    del lines[lines.index(grid_line((3, 3, 7)).rstrip("\n")) + 13]  # the three numbers before the second grid
    check("\n".join(lines), "3 3 7")
    head = header(elements="  Si   O\n   2   1\n", positions=[*COORDS, (0.5, 0.5, 0.5)])
    text = chgcar([total, 0.2 * total], head, augmented=False, moments=(0.1, 0.2, 0.3))
    lines = text.split("\n")
    del lines[25]
    check("\n".join(lines), "line")


def test_other_things_after_a_block_are_refused(check):
    end = chgcar([TOTAL], augmented=False)
    check(end + "text\n", "'text'")
    check(end + "  0.1 0.2\n", "2")
    check(end + "  0.1 0.2\n" + grid_line((6, 5, 8)) + block(TOTAL), "6 × 5 × 8")
    check(end + augmentation(1), "1", "2")
    check(end + augmentation(3), "3", "2")
    check(end.replace(grid_line(TOTAL.shape), grid_line((6, 5, 6))), "10")
    check(end.replace(grid_line(TOTAL.shape), grid_line((6, 5, 1))))
    check(end.replace(grid_line(TOTAL.shape), grid_line((6, 4, 7))), "line")
    check(end.replace(grid_line(TOTAL.shape), grid_line((6, 5, 8))), "210", "240")
    check(end.replace(grid_line(TOTAL.shape), grid_line((6, 0, 8))), "6")


# rows 03 to 06: counts of electrons, in each format


@pytest.mark.parametrize(
    ("electrons", "code"), [(2.0, "bands"), (4.0, "one_spin"), (28.0, "all_electron"), (11.0, "electrons")]
)
def test_impossible_counts_are_refused_in_every_format(check, read, tmp_path, electrons, code):
    values = crystal_density(electrons)
    check(chgcar([values]), code=code)
    check(cube(values), code=code, name="rho.cube")
    density = replace(read(WHOLE), values=values, n_electrons=electrons, remarks=())
    write_npz(density, tmp_path / "rho.npz")
    for reading in (lambda: read_density(tmp_path / "rho.npz"), lambda: read_input(tmp_path / "rho.npz", None)):
        with refused(f"{electrons:g}", source="rho.npz", code=code):
            reading()


def test_all_electrons_are_read_as_such(read, check):
    density = read(cube(crystal_density(28.0)), "rho.cube", kind="all_electron")
    assert (density.n_electrons, density.kind, density.remarks) == (28.0, "all_electron", ())
    check(WHOLE, 28, 8, code="electrons", kind="all_electron")


def test_a_charged_cell_is_a_warning_in_every_format_and_in_the_outcome(read, tmp_path):
    values = crystal_density(7.0)
    for content, name in ((chgcar([values]), "CHGCAR"), (cube(values), "rho.cube")):
        density = read(content, name)
        assert density.n_electrons == 7
        assert "+1 e" in density.remarks[0]
    write_npz(density, tmp_path / "rho.npz")
    assert read_input(tmp_path / "rho.npz", None).remarks == density.remarks
    SILICON.to(str(tmp_path / "POSCAR"), fmt="poscar")
    settings = FilesSettings("valence", "as_given")
    outcome = run_material("m", tmp_path / "POSCAR", tmp_path / "rho.cube", "files", settings, tmp_path / "m")
    assert outcome.status == "converged"
    assert "+1 e" in outcome.protocol_changes[0]


# row 07: Fortran's 2I4


@pytest.mark.parametrize("first", [1, 998, 1000, 9998])
def test_glued_numbers_of_atoms_are_read(read, first):
    text = chgcar([TOTAL], augmented=False) + augmentation(first=first)
    assert_silicon(read(text))
    assert_silicon(read(text.replace(f"{first:4d}  13", "****  13", 1)))  # 10000 atoms and more


# row 08: several grids or fields


def test_several_densities_are_refused(check):
    grid = grid_line(TOTAL.shape) + block(TOTAL * VOLUME_ANG3)
    for n_grids in (2, 3, 4, 5):
        check(header() + n_grids * ("\n" + grid), code="several")
    check(cube(TOTAL, extra=" 2"), 2, name="a.cube")
    check(cube(TOTAL).replace("\n2 0.0", "\n-2 0.0").replace("\n14 4", "\n14 4 ", 1), name="a.cube")
    check(cube(TOTAL) + cube(TOTAL).split("\n", 8)[-1], name="a.cube")


# rows 09 and 10 and the right readings of the last line


@pytest.mark.parametrize(
    "head",
    [
        header(scale="   5.5 5.5 5.5", lattice=LATTICE_ANG / 5.5),
        header(scale="   5.5 11.0 2.75", lattice=LATTICE_ANG / [5.5, 11.0, 2.75]),
        header(scale="   -41.59375", lattice=LATTICE_ANG / 3),
        header(scale="   2.75 a comment", lattice=LATTICE_ANG / 2.75),
        header(mode="Selective dynamics\nDirect\n"),
        header(mode="Cartesian\n", positions=COORDS @ LATTICE_ANG),
        header(scale=" 1.1 ", lattice=LATTICE_ANG / 1.1, mode="K\n", positions=COORDS @ LATTICE_ANG / 1.1),
        header(elements="   Si_GW/79d9987ad87\n    2\n"),
        header(elements="   Si   Si\n    1   1\n"),
        header(elements="   Si\n   Si\n    1\n    1\n"),
        header(elements="   2\n").replace("0.875000\n", "0.875000 Si\n").replace("0.125000\n", "0.125000 Si\n"),
        header(positions=COORDS - np.array([[0, 2, 0], [0, 0, 0]])).replace("0.875000 -1.125000", "0.875000-1.125000"),
    ],
)
def test_headers_of_all_kinds_are_read(read, head):
    density = read(chgcar([TOTAL], head))
    density = replace(density, frac_coords=density.frac_coords % 1)
    assert_silicon(density)


@pytest.mark.parametrize("title", [bytes(range(0xA0, 0x100)), b"Si \xe9 \xc5", "Si é".encode(), b"\x1b[2J", b""])
def test_any_title_is_read(read, title):
    text = WHOLE.encode().replace(b"unknown system", title)
    assert_silicon(read(text))
    assert not is_structure(Path("CHGCAR"))


@pytest.mark.parametrize("ends", ["\r\n", "\r", "  \n"])
def test_other_ends_of_lines_are_read(read, ends):
    assert_silicon(read(chgcar([TOTAL, SPIN]).replace("\n", ends)))


@pytest.mark.parametrize("augmented", [True, False])
def test_spin_and_non_collinear_files_give_the_total(read, augmented):
    for fields in ([TOTAL, SPIN], [TOTAL, -SPIN], [TOTAL, SPIN, 0 * SPIN, -SPIN]):
        assert_silicon(read(chgcar(fields, augmented=augmented)))
        assert_silicon(read(chgcar(fields, augmented=augmented, moments=())))  # as pymatgen writes
    imaginary = chgcar([TOTAL], augmented=False) + augmentation() + augmentation(imaginary=True)
    assert_silicon(read(imaginary))


def test_left_handed_cells_and_free_formats_are_read(read):
    lattice = LATTICE_ANG[[1, 0, 2]]
    density = read(chgcar([TOTAL], header(lattice=lattice)))
    assert np.linalg.det(density.lattice) * np.linalg.det(LATTICE_ANG) < 0
    np.testing.assert_allclose(density.values, TOTAL, rtol=2e-6)
    one_line = " ".join(f"{x:.8f}" for x in np.ravel(TOTAL * VOLUME_ANG3, order="F"))
    assert_silicon(read(header() + "\n" + grid_line(TOTAL.shape) + one_line))
    assert_silicon(read(header() + "\n" + grid_line(TOTAL.shape) + one_line.replace(" ", "\n") + "\n"))


def test_other_quantities_are_no_densities(read, check):
    potential = crystal_density() - 0.5
    check(chgcar([potential], augmented=False), name="LOCPOT")
    check(chgcar([potential], augmented=False), name="CHGCAR_of_locpot", code="electrons")
    localisation = TOTAL / TOTAL.max() / VOLUME_ANG3  # ELFCAR holds it as it is
    check(chgcar([localisation], augmented=False), name="ELFCAR")
    check(chgcar([localisation], augmented=False), name="CHGCAR_of_elf", code="electrons")
    check("CRYSTAL\nPRIMVEC\n 0 2 2\n 2 0 2\n 2 2 0\n", name="rho.xsf")
    check("CRYSTAL\nPRIMVEC\n 0 2 2\n 2 0 2\n 2 2 0\n", "line 2", name="CHGCAR_xsf")


def test_aeccars_are_refused_by_name_and_their_sum_is_questioned(read, check):
    for name in ("AECCAR0", "AECCAR1.gz", "AECCAR2", "mp-1_AECCAR2"):
        content = gzip.compress(WHOLE.encode()) if name.endswith(".gz") else WHOLE
        check(content, name=name, code="kind")
    assert read(WHOLE, "AECCAR1", kind="promolecule").kind == "promolecule"
    check(chgcar([crystal_density(8.0131)]), "8.0131", code="electrons")
    assert "AECCAR" in read(chgcar([crystal_density(8.004)])).remarks[0]
    assert read(WHOLE).remarks == ()


# row 11: densities in JSON


def test_a_density_in_json_is_said_to_be_one(check, tmp_path):
    crystal = Poscar(SILICON)
    content = Chgcar(crystal, {"total": TOTAL * VOLUME_ANG3}).as_dict()
    content["data"] = {"total": TOTAL.tolist()}
    for document in (content, {"task_id": "mp-149", "data": content}):
        text = json.dumps(document, default=str)
        check(text, "CHGCAR", name="density.json", code="json")
        check(gzip.compress(text.encode()), "CHGCAR", name="density.json.gz", code="json")
        with refused("CHGCAR", source="density.json", code="json"):
            read_structure(tmp_path / "density.json")


# row 12: isotopes


@pytest.mark.parametrize("symbol", ["D", "T", "H"])
def test_isotopes_of_hydrogen_are_hydrogen(read, tmp_path, symbol):
    path = tmp_path / "POSCAR_LiD"
    path.write_text(f"LiD\n4.08\n0 .5 .5\n.5 0 .5\n.5 .5 0\nLi {symbol}\n1 1\nDirect\n0 0 0\n.5 .5 .5\n")
    assert read_structure(path).composition.as_dict() == {"Li": 1, "H": 1}
    head = header(elements=f"   Li {symbol}\n    1   1\n")
    assert read(chgcar([crystal_density(2.0)], head)).numbers.tolist() == [3, 1]


# rows 14 to 17: each refusal says the true fix


def test_refusals_say_the_true_fix(check, tmp_path):
    check(chgcar([TOTAL], header(elements="     2\n")), "line 6")
    check(WHOLE + WHOLE, code="frames")
    check(gzip.compress(WHOLE.encode()), "CHGCAR_x.gz", name="CHGCAR_x", code="compression")
    check(WHOLE, ".gz", name="CHGCAR.gz", code="compression")
    check(cube(TOTAL, unit=Bohr), "Å", "Bohr", name="a.cube", code="bohr")
    for name in ("POSCAR", "POSCAR.gz"):
        (tmp_path / name).write_bytes(gzip.compress(header().encode()))
    with refused("POSCAR.gz", code="compression"):
        read_structure(tmp_path / "POSCAR")
    assert is_structure(tmp_path / "POSCAR.gz")
    assert read_structure(tmp_path / "POSCAR.gz") == SILICON


@pytest.mark.parametrize(
    ("content", "name", "code", "data"),
    [
        (gzip.compress(gzip.compress(WHOLE.encode())), "CHGCAR.gz", "compression", []),
        (bz2.compress(WHOLE.encode()), "CHGCAR.gz", "compression", ["CHGCAR.bz2"]),
        (WHOLE.encode("utf-16-le"), "CHGCAR", "format", []),
        (b"\x1f\x9d\x90" + bytes(range(90)), "CHGCAR.Z", "format", []),
        (b"<!DOCTYPE html>\n<title>404</title>\n", "a.cube", "format", []),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "CHGCAR", "format", ["git lfs"]),
    ],
)
def test_files_of_other_kinds_are_named(check, content, name, code, data):
    check(content, *data, name=name, code=code)


def test_a_cube_in_angstrom_is_refused_whatever_its_numbers_of_points_say(check, read):
    """With values in e/Å³ it integrates to the right electrons: the atoms are too close for Bohr."""
    text = cube(TOTAL / Bohr**3, unit=Bohr)
    lines = text.split("\n")
    lines[3:6] = [line.lstrip("-") for line in lines[3:6]]
    check("\n".join(lines), "Å", "Bohr", name="a.cube", code="bohr")
    assert_silicon(read(cube(TOTAL), "a.cube"))


def test_occupancies_of_no_channel_are_read(read):
    lines = "".join(f"augmentation occupancies{number:4d}   0\n" for number in (1, 2))
    assert_silicon(read(chgcar([TOTAL], augmented=False) + lines))
