"""The density record: what is written is read back, and nothing unsound passes."""

from dataclasses import replace

import numpy as np
import pytest
from standins.refusals import refused

from rho2prop.core.errors import InputError
from rho2prop.densities.density import Density, read_npz, write_npz

LATTICE = np.array([[4.0, 0.0, 0.0], [1.0, 3.0, 0.0], [0.0, 0.5, 5.0]])


def wave_density(n_electrons: float = 8.0, promolecule: bool = False) -> Density:
    """A plane wave on a constant background; its integral is n_electrons exactly."""
    x = np.arange(12) / 12
    values = np.ones((12, 10, 8)) + 0.3 * np.cos(2 * np.pi * x)[:, None, None]
    values *= n_electrons / abs(np.linalg.det(LATTICE))
    return Density(
        values=values.astype(np.float32),
        lattice=LATTICE,
        numbers=np.array([14, 14]),
        frac_coords=np.array([[0.0, 0, 0], [0.25, 0.25, 0.25]]),
        n_electrons=n_electrons,
        kind="valence",
        engine="test 1.0",
        promolecule=np.full_like(values, values.mean()) if promolecule else None,
    )


@pytest.mark.parametrize("promolecule", [False, True])
def test_written_density_is_read_back_unchanged(tmp_path, promolecule):
    density = wave_density(promolecule=promolecule)
    write_npz(density, tmp_path / "density.npz")
    read = read_npz(tmp_path / "density.npz")
    for name in ("values", "lattice", "numbers", "frac_coords"):
        np.testing.assert_array_equal(getattr(read, name), getattr(density, name))
    assert (read.n_electrons, read.kind, read.engine) == (8.0, "valence", "test 1.0")
    assert read.integral() == pytest.approx(8.0, abs=1e-5)
    assert (read.promolecule is not None) == promolecule
    if promolecule:
        np.testing.assert_array_equal(read.promolecule, density.promolecule)


def poisoned(values: np.ndarray, value: float) -> np.ndarray:
    values = values.copy()
    values[3, 2, 1] = value
    return values


@pytest.mark.parametrize(
    ("change", "data"),
    [
        (lambda d: {"values": poisoned(d.values, np.nan)}, ["nan", "(3, 2, 1)"]),
        (lambda d: {"values": poisoned(d.values, np.inf)}, ["inf", "(3, 2, 1)"]),
        (lambda d: {"values": d.values[0]}, ["(10, 8)", "(nx, ny, nz)"]),
        (lambda d: {"values": np.ones((2, 2, 2), dtype=complex)}, ["complex128"]),
        (lambda d: {"values": 2 * d.values}, ["16.0000", "8.0000"]),
        (lambda d: {"n_electrons": 8.05}, ["8.0000", "8.0500"]),
        (lambda d: {"n_electrons": float("nan")}, ["n_electrons"]),
        (lambda d: {"n_electrons": -8.0}, ["-8.0"]),
        (lambda d: {"lattice": d.lattice[:2]}, ["lattice", "(2, 3)"]),
        (lambda d: {"lattice": np.zeros((3, 3))}, ["lattice"]),
        (lambda d: {"numbers": np.array([14])}, ["frac_coords", "(2, 3)"]),
        (lambda d: {"numbers": np.array([14, 0])}, ["numbers", "0", "118"]),
        (lambda d: {"numbers": np.array([14.0, 14.0])}, ["numbers", "float64"]),
        (lambda d: {"kind": "spin"}, ["'spin'", "valence"]),
        (lambda d: {"promolecule": d.values[:6]}, ["promolecule", "(6, 10, 8)"]),
        (lambda d: {"promolecule": 1.1 * d.values}, ["promolecule", "8.8000"]),
    ],
)
def test_unsound_density_is_refused_before_anything_is_written(tmp_path, change, data):
    density = wave_density()
    path = tmp_path / "density.npz"
    with refused(*data, source="density.npz"):
        write_npz(replace(density, **change(density)), path)
    assert list(tmp_path.iterdir()) == []


def test_bad_density_does_not_replace_a_good_one(tmp_path):
    path = tmp_path / "density.npz"
    write_npz(wave_density(), path)
    with pytest.raises(InputError):
        write_npz(replace(wave_density(), n_electrons=9.0), path)
    assert read_npz(path).n_electrons == 8.0


def saved_arrays(path, **changes):
    write_npz(wave_density(), path)
    with np.load(path) as archive:
        arrays = {**dict(archive), **changes}
    np.savez_compressed(path, **{key: value for key, value in arrays.items() if value is not None})


@pytest.mark.parametrize("key", ["density", "lattice", "numbers", "frac_coords", "n_electrons", "kind", "engine"])
def test_missing_key_is_named(tmp_path, key):
    path = tmp_path / "density.npz"
    saved_arrays(path, **{key: None})
    with refused(key, source="density.npz"):
        read_npz(path)


def test_unknown_keys_are_ignored_and_files_are_checked_when_read(tmp_path):
    path = tmp_path / "density.npz"
    saved_arrays(path, energy_ev=np.float64(-3.0))
    assert read_npz(path).n_electrons == 8.0
    saved_arrays(path, n_electrons=np.float64(7.9))
    with refused("8.0000", "7.9000", code="electrons"):
        read_npz(path)
    saved_arrays(path, kind=np.array(3))
    with refused("kind", "int64"):
        read_npz(path)


def test_pickled_objects_are_never_loaded(tmp_path):
    path = tmp_path / "density.npz"
    saved_arrays(path, engine=np.array({"a": 1}, dtype=object))
    with refused(source="density.npz", code="unreadable"):
        read_npz(path)


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_cut_file_is_named(tmp_path, fraction):
    path = tmp_path / "density.npz"
    write_npz(wave_density(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(fraction * len(content))])
    with refused(source="density.npz"):
        read_npz(path)


def test_flipped_bytes_are_found(tmp_path):
    path = tmp_path / "density.npz"
    write_npz(wave_density(), path)
    content = bytearray(path.read_bytes())
    for i in range(200, 260):
        content[i] ^= 0xFF
    path.write_bytes(bytes(content))
    with refused(source="density.npz"):
        read_npz(path)


def test_missing_file_is_named(tmp_path):
    with refused(source="nowhere.npz", code="missing"):
        read_npz(tmp_path / "nowhere.npz")
