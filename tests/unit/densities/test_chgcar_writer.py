import re
from dataclasses import replace

import numpy as np
import pytest
from ase.calculators.vasp import VaspChargeDensity
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.io.vasp.outputs import Chgcar
from standins.refusals import refused

from rho2prop.densities import chgcar_writer
from rho2prop.densities.chgcar_writer import chgcar_bytes, write_chgcar
from rho2prop.densities.density import Density
from rho2prop.densities.readers import parse_density, read_density

FIELD = re.compile(r" [0-]\.\d{11}E[+-]\d\d")


@pytest.fixture
def awkward(density):
    """Zero, negative, tiny and huge values, some that round up to the next power of ten; the electrons kept."""
    values = density.values.copy()
    values[0, 0, :8] = 0.0, -0.125, 1e-130, -3e-98, 1e-5, 0.99999999999999 / density.volume_ang3, 7.5e-9, -1e-3
    values[1] *= density.values.sum() / values.sum()
    values *= density.n_electrons / (values.mean() * density.volume_ang3)
    return replace(density, values=values)


def test_pymatgen_reads_the_same_crystal_and_numbers(awkward, tmp_path):
    write_chgcar(awkward, tmp_path / "CHGCAR")
    found = Chgcar.from_file(str(tmp_path / "CHGCAR"))
    expected = np.where(np.abs(awkward.values) < 1e-100, 0.0, awkward.values) * awkward.volume_ang3
    np.testing.assert_allclose(found.data["total"], expected, rtol=5.1e-11, atol=1e-99)
    np.testing.assert_allclose(found.structure.lattice.matrix, awkward.lattice, rtol=0, atol=1e-14)
    np.testing.assert_allclose(found.structure.frac_coords, awkward.frac_coords, rtol=0, atol=1e-14)
    assert list(found.structure.atomic_numbers) == awkward.numbers.tolist()


def test_ase_reads_the_density_in_electrons_per_cubic_angstrom(density, tmp_path):
    write_chgcar(density, tmp_path / "CHGCAR")
    found = VaspChargeDensity(str(tmp_path / "CHGCAR"))
    np.testing.assert_allclose(found.chg[0], density.values, rtol=1e-9)
    np.testing.assert_allclose(found.atoms[0].get_scaled_positions(), density.frac_coords, atol=1e-12)


def test_our_reader_gives_the_electrons_back(density, tmp_path):
    density = replace(density, numbers=np.array([3, 15]))  # whose potentials can give 3 + 5 electrons
    write_chgcar(density, tmp_path / "CHGCAR.gz")
    found = read_density(tmp_path / "CHGCAR.gz")
    assert (tmp_path / "CHGCAR.gz").read_bytes()[:2] == b"\x1f\x8b"
    assert found.n_electrons == 8.0
    np.testing.assert_allclose(found.values, density.values, rtol=1e-6)


def test_lines_are_those_of_vasp(awkward, tmp_path):
    """Fortran's 5(1X,E17.11): five fields of 18 characters, the first axis fastest."""
    write_chgcar(awkward, tmp_path / "CHGCAR")
    lines = (tmp_path / "CHGCAR").read_text().split("\n")
    assert lines.pop() == ""
    start = lines.index("   20   24   27") + 1
    fields = [line[i : i + 18] for line in lines[start:] for i in range(0, len(line), 18)]
    assert [len(line) for line in lines[start:]] == [90] * (20 * 24 * 27 // 5)
    assert all(FIELD.fullmatch(field) for field in fields)
    assert len(fields) == awkward.values.size
    assert float(fields[3]) == pytest.approx(awkward.values[3, 0, 0] * awkward.volume_ang3, rel=1e-10)
    assert lines[start - 2] == ""


def test_every_magnitude_is_rounded_to_eleven_digits():
    rng = np.random.default_rng(1)
    values = rng.choice([-1, 1], 5000) * 10 ** rng.uniform(-98, 98, 5000)
    values[:4] = 1.0, 0.1, 999999999999.0, 9.999999999951e-5
    text = [bytes(row).decode() for row in chgcar_writer._fixed_width(values, "CHGCAR")]
    assert all(FIELD.fullmatch(field) for field in text)
    assert all(field[3] != "0" for field in text)  # the leading digit carries
    np.testing.assert_allclose([float(field) for field in text], values, rtol=5.001e-11)
    assert text[:3] == [" 0.10000000000E+01", " 0.10000000000E+00", " 0.10000000000E+13"]


def test_atoms_keep_their_order(density, tmp_path):
    numbers = np.array([8, 12, 8, 8])
    coords = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.25, 0.5, 0.0], [0.0, 0.5, 0.75]])
    write_chgcar(replace(density, numbers=numbers, frac_coords=coords), tmp_path / "CHGCAR")
    found = Chgcar.from_file(str(tmp_path / "CHGCAR")).structure
    assert list(found.atomic_numbers) == [8, 12, 8, 8]
    np.testing.assert_allclose(found.frac_coords, coords)


@pytest.mark.parametrize("shape", [(20, 24, 27), (7, 3, 3), (5, 5, 5), (30, 30, 30)])
def test_the_size_is_known_without_writing(density, shape, tmp_path):
    values = np.full(shape, density.n_electrons / density.volume_ang3)
    flat = replace(density, values=values)
    write_chgcar(flat, tmp_path / "CHGCAR")
    assert (tmp_path / "CHGCAR").stat().st_size == chgcar_bytes(flat, shape)
    np.testing.assert_allclose(Chgcar.from_file(str(tmp_path / "CHGCAR")).data["total"], 8.0, rtol=1e-10)


def test_an_unsound_density_writes_nothing(density, tmp_path):
    with refused("8.0000", "17.0000", code="electrons"):
        write_chgcar(replace(density, n_electrons=17.0), tmp_path / "CHGCAR")
    assert list(tmp_path.iterdir()) == []


def test_a_value_too_large_for_the_format_is_refused(tmp_path):
    with refused("1e+99", source="CHGCAR"):
        chgcar_writer._fixed_width(np.array([1.0, -1e99]), tmp_path / "CHGCAR")


@given(st.integers(0, 2**32 - 1), st.tuples(*[st.integers(2, 7)] * 3), st.sampled_from(["CHGCAR", "CHGCAR.gz"]))
def test_any_crystal_comes_back_as_it_was_written(tmp_path_factory, seed, shape, name):
    rng = np.random.default_rng(seed)
    lattice = np.diag(rng.uniform(3, 6, 3)) + rng.uniform(-0.5, 0.5, (3, 3))
    n_atoms = int(rng.integers(1, 9))
    slots = rng.permutation(list(np.ndindex(2, 2, 2)))[:n_atoms] / 2
    values = rng.normal(size=shape) * 10 ** rng.uniform(-6, 3, shape)
    n_electrons = int(rng.integers(1, 200))
    values += n_electrons / abs(np.linalg.det(lattice)) - values.mean()
    coords = slots + rng.uniform(-0.05, 0.05, (n_atoms, 3))
    numbers = rng.choice(rng.integers(1, 104, 3), n_atoms)
    density = Density(values, lattice, numbers, coords, float(n_electrons), "valence", "vasp")
    path = tmp_path_factory.mktemp("chgcar") / name
    write_chgcar(density, path)
    found = parse_density(path)
    assert found.n_electrons == n_electrons
    largest = np.abs(values).max()
    np.testing.assert_allclose(found.values, values, rtol=1e-6, atol=1e-7 * largest)
    np.testing.assert_allclose(found.lattice, lattice, atol=1e-13)
    np.testing.assert_array_equal(found.numbers, numbers)
    np.testing.assert_allclose(found.frac_coords, coords, atol=1e-13)
