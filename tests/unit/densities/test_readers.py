"""Densities of other programs: units, compression, spin and augmentation blocks, and damaged files."""

import bz2
import gzip
import lzma
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io.cube import write_cube
from ase.units import Bohr
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp.inputs import Poscar
from pymatgen.io.vasp.outputs import Chgcar
from standins.refusals import refused

from rho2prop.densities.density import write_npz
from rho2prop.densities.readers import read_density

CELL = Structure(
    Lattice([[0.0, 2.1, 2.1], [2.1, 0.0, 2.1], [2.1, 2.3, 0.0]]), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
)
N_ELECTRONS = 16


def made_values(shape=(6, 8, 7)) -> np.ndarray:
    """A density in e/Å³ without any symmetry that integrates to 16 electrons."""
    values = np.random.default_rng(7).uniform(0.1, 1.0, shape)
    return values * N_ELECTRONS / (values.mean() * CELL.volume)


def numbers_block(values) -> str:
    flat = np.ravel(values, order="F")
    lines = [flat[i : i + 5] for i in range(0, len(flat), 5)]
    return "".join(" ".join(f"{x:18.11E}" for x in line) + "\n" for line in lines)


def augmentation() -> str:
    return "".join(f"augmentation occupancies{i:4d}{9:4d}\n" + numbers_block(np.arange(9) / 7) for i in (1, 2))


def chgcar_text(values: np.ndarray, spin: bool = False, augmented: bool = False) -> str:
    """A CHGCAR as VASP lays it out."""
    grid = " " + " ".join(f"{n:4d}" for n in values.shape) + "\n"
    text = str(Poscar(CELL)) + "\n" + grid + numbers_block(values * CELL.volume)
    text += augmentation() if augmented else ""
    if spin:
        text += "  0.0000000E+00  0.1000000E+00\n" + grid + numbers_block(0.1 * values * CELL.volume)
        text += augmentation() if augmented else ""
    return text


def check(path, *data, code=None, **options):
    with refused(path.name, *data, code=code):
        read_density(path, **options)


@pytest.mark.parametrize("spin", [False, True])
def test_chgcar_of_pymatgen_keeps_each_value_and_the_atoms(tmp_path, spin):
    values = made_values()
    data = {"total": values * CELL.volume} | ({"diff": 0.2 * values * CELL.volume} if spin else {})
    Chgcar(Poscar(CELL), data).write_file(tmp_path / "CHGCAR")
    density = read_density(tmp_path / "CHGCAR", structure=CELL)
    np.testing.assert_allclose(density.values, values, rtol=1e-6)
    np.testing.assert_allclose(density.lattice, CELL.lattice.matrix, atol=1e-6)
    assert density.numbers.tolist() == [12, 8]
    np.testing.assert_allclose(density.frac_coords, CELL.frac_coords, atol=1e-6)
    assert (density.n_electrons, density.kind) == (16.0, "valence")


@pytest.mark.parametrize("name", ["CHGCAR", "CHGCAR.gz", "CHG.bz2", "CHGCAR_static.xz", "mp-1265.chgcar", "mgo.vasp"])
def test_compression_and_extra_blocks_do_not_change_the_total(tmp_path, name):
    values = made_values()
    opener = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}.get((tmp_path / name).suffix, open)
    for spin in (False, True):
        for augmented in (False, True):
            with opener(tmp_path / name, "wt") as file:
                file.write(chgcar_text(values, spin, augmented))
            np.testing.assert_allclose(read_density(tmp_path / name).values, values, rtol=1e-6)


def test_chgcar_cut_anywhere_is_an_error_or_whole(tmp_path):
    path = tmp_path / "CHGCAR"
    values = made_values()
    text = chgcar_text(values, spin=True, augmented=True)
    end_of_total = len(chgcar_text(values))
    header = text.index("E+0") - 20
    rng = np.random.default_rng(3)
    cuts = [0, 5, 80, header - 30, header, *rng.integers(header, end_of_total, 60), end_of_total - 2]
    for cut in cuts:
        path.write_text(text[:cut])
        check(path)
    end_of_first_spin = text.index("  0.0000000E+00", end_of_total)
    for cut in range(end_of_total + 3, end_of_first_spin, 7):
        path.write_text(text[:cut])
        check(path)
    path.write_text(text[:end_of_first_spin])  # between the spins: the total density is whole
    np.testing.assert_allclose(read_density(path).values, values, rtol=1e-6)
    for cut in rng.integers(end_of_first_spin + 60, len(text) - 2, 60):
        path.write_text(text[:cut])
        check(path)


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_cut_compressed_file_is_named(tmp_path, suffix):
    path = tmp_path / f"CHGCAR{suffix}"
    module = {".gz": gzip, ".bz2": bz2, ".xz": lzma}[suffix]
    content = module.compress(chgcar_text(made_values()).encode())
    for fraction in (0.0, 0.3, 0.99):
        path.write_bytes(content[: int(fraction * len(content))])
        check(path)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("nan", "(1, 7, 1)"),
        ("*" * 18, "line 31"),
        ("garbage", "line 31"),
        ("", "335"),
    ],
)
def test_damaged_number_is_found(tmp_path, word, message):
    lines = chgcar_text(made_values()).split("\n")
    lines[30] = lines[30][:19] + f"{word:>18}" + lines[30][37:]
    (tmp_path / "CHGCAR").write_text("\n".join(lines))
    check(tmp_path / "CHGCAR", message)


def test_chgcar_without_element_names_is_not_guessed(tmp_path):
    text = str(Poscar(CELL)).replace("Mg O\n", "").replace(" Mg\n", "\n").replace(" O\n", "\n")
    (tmp_path / "CHGCAR").write_text(text + "\n" + chgcar_text(made_values()).split("\n\n", 1)[1])
    check(tmp_path / "CHGCAR", "line 6")


@pytest.mark.parametrize(
    ("factor", "kind", "code", "datum"),
    [
        (1.01, "valence", "electrons", "16.1600"),
        (2.0, "valence", "electrons", "32"),
        (0.0, "valence", "electrons", "0.0000"),
        (-1.0, "valence", "electrons", "-16.0000"),
        (1.0, "spin", "kind", "'spin'"),
    ],
)
def test_wrong_electron_count_is_refused(tmp_path, factor, kind, code, datum):
    (tmp_path / "CHGCAR").write_text(chgcar_text(factor * made_values()))
    check(tmp_path / "CHGCAR", datum, code=code, kind=kind)


def test_density_must_belong_to_its_structure(tmp_path):
    path = tmp_path / "CHGCAR"
    path.write_text(chgcar_text(made_values()))
    other_axes = CELL.copy()
    other_axes.make_supercell([[0, 1, 0], [0, 0, 1], [1, 0, 0]])
    assert read_density(path, structure=other_axes).n_electrons == 16
    check(path, "Mg1 O1", "Mg2 O2", code="crystal", structure=CELL * (2, 1, 1))
    check(path, "Ca1 O1", code="crystal", structure=Structure(CELL.lattice, ["Ca", "O"], CELL.frac_coords))
    check(path, "1 %", code="crystal", structure=Structure(CELL.lattice.matrix * 1.02, CELL.species, CELL.frac_coords))


def cube_text(folder: Path, values: np.ndarray, origin=(0.0, 0.0, 0.0)) -> str:
    atoms = Atoms("MgO", cell=CELL.lattice.matrix, pbc=True, positions=CELL.cart_coords + np.array(origin))
    with open(folder / "written", "w") as file:
        write_cube(file, atoms, values * Bohr**3, origin=np.array(origin))
    return (folder / "written").read_text()


@pytest.mark.parametrize("name", ["rho.cube", "rho.cube.gz", "rho.cub.xz"])
def test_cube_is_converted_from_bohr(tmp_path, name):
    values = made_values()
    opener = {".gz": gzip.open, ".xz": lzma.open}.get((tmp_path / name).suffix, open)
    with opener(tmp_path / name, "wt") as file:
        file.write(cube_text(tmp_path, values))
    density = read_density(tmp_path / name, structure=CELL)
    np.testing.assert_allclose(density.values, values, rtol=1e-5)
    np.testing.assert_allclose(density.lattice, CELL.lattice.matrix, atol=1e-4)
    assert density.n_electrons == 16


def test_origin_of_a_cube_moves_the_atoms_onto_the_grid(tmp_path):
    (tmp_path / "rho.cube").write_text(cube_text(tmp_path, made_values(), origin=(0.4, -0.2, 1.0)))
    density = read_density(tmp_path / "rho.cube")
    np.testing.assert_allclose(density.frac_coords, CELL.frac_coords, atol=1e-4)


def test_cut_cube_is_named(tmp_path):
    path = tmp_path / "rho.cube"
    text = cube_text(tmp_path, made_values())
    for cut in (0, 40, 200, 400, 700, len(text) // 2, len(text) - 20, len(text.rstrip()) - 3):
        path.write_text(text[:cut])
        check(path)


def test_npz_must_be_of_the_kind_that_is_asked_for(tmp_path):
    (tmp_path / "CHGCAR").write_text(chgcar_text(made_values()))
    density = read_density(tmp_path / "CHGCAR")
    write_npz(density, tmp_path / "a.npz")
    np.testing.assert_array_equal(read_density(tmp_path / "a.npz", structure=CELL).values, density.values)
    write_npz(replace(density, kind="promolecule"), tmp_path / "b.npz")
    check(tmp_path / "b.npz", "promolecule", "valence", code="kind")


def test_unknown_names_are_refused(tmp_path):
    check(tmp_path / "CHGCAR", code="missing")
    (tmp_path / "density.dat").write_text("1 2 3\n")
    check(tmp_path / "density.dat", code="format")
