"""Other descriptions of one crystal: what they must keep, for any cell, grid and atoms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rho2prop.densities.density import Density, check
from rho2prop.densities.fourier import resample
from rho2prop.densities.transformations import ROTATIONS, rolled, rotated, shifted, supercell

SEEDS = st.integers(0, 2**32 - 1)
SHAPES = st.tuples(*[st.integers(2, 7)] * 3)
POINTS = st.tuples(*[st.integers(-9, 9)] * 3)
ROTATION = st.sampled_from(ROTATIONS)


def crystal(seed, shape):
    """A rough positive density and promolecule in a skewed cell of one to four atoms."""
    rng = np.random.default_rng(seed)
    lattice = np.diag(rng.uniform(3, 6, 3)) + rng.uniform(-0.8, 0.8, (3, 3))
    values, promolecule = rng.uniform(0.1, 2.0, (2, *shape))
    n_atoms = int(rng.integers(1, 5))
    n_electrons = 4.0 * n_atoms
    values, promolecule = (x * n_electrons / (x.mean() * abs(np.linalg.det(lattice))) for x in (values, promolecule))
    numbers, coords = rng.integers(1, 90, n_atoms), rng.uniform(size=(n_atoms, 3))
    return Density(values, lattice, numbers, coords, n_electrons, "valence", "test 1.0", promolecule)


def same(first, second, atol=1e-12):
    for name in ("values", "promolecule", "lattice"):
        np.testing.assert_allclose(getattr(first, name), getattr(second, name), atol=atol)
    difference = first.frac_coords - second.frac_coords
    np.testing.assert_allclose(difference - np.round(difference), 0, atol=1e-9)
    np.testing.assert_array_equal(first.numbers, second.numbers)
    return True


def distances_ang(density):
    """Distances of all pairs of atoms in the nearest 27 cells, sorted."""
    cells = np.array(list(np.ndindex(3, 3, 3))) - 1
    between = density.frac_coords[:, None] - density.frac_coords[None]
    between -= np.round(between)
    return np.sort(np.linalg.norm((between[:, :, None] + cells) @ density.lattice, axis=-1).ravel())


@given(SEEDS, SHAPES, ROTATION, POINTS)
def test_turned_and_moved_crystals_are_sound_and_have_the_same_distances(seed, shape, rotation, points):
    density = crystal(seed, shape)
    for other in (rotated(density, rotation), rolled(density, points)):
        check(other, "description")
        np.testing.assert_allclose(np.sort(other.values, axis=None), np.sort(density.values, axis=None))
        np.testing.assert_allclose(distances_ang(other)[:9], distances_ang(density)[:9], atol=1e-9)


@given(SEEDS, SHAPES, ROTATION, ROTATION)
def test_rotations_compose_and_have_an_inverse(seed, shape, first, second):
    density = crystal(seed, shape)
    assert same(rotated(rotated(density, first), second), rotated(density, second @ first))
    assert same(rotated(rotated(density, first), first.T), density)


@given(SEEDS, SHAPES, ROTATION, POINTS)
def test_a_rotation_takes_a_shift_with_it(seed, shape, rotation, points):
    density = crystal(seed, shape)
    turned_points = tuple(int(n) for n in rotation @ points)
    assert same(rotated(rolled(density, points), rotation), rolled(rotated(density, rotation), turned_points))


@given(SEEDS, SHAPES, POINTS, POINTS)
def test_rolls_add_up(seed, shape, first, second):
    density = crystal(seed, shape)
    together = tuple(int(n) for n in np.add(first, second))
    assert same(rolled(rolled(density, first), second), rolled(density, together))


@given(SEEDS, SHAPES, st.tuples(*[st.floats(-1.5, 1.5)] * 3))
def test_a_shift_keeps_the_electrons_and_can_be_undone(seed, shape, fractions):
    density = crystal(seed, shape)
    still = shifted(density, np.zeros(3))  # without the terms of the Nyquist frequency
    moved = shifted(density, np.array(fractions))
    assert moved.integral() == pytest.approx(density.n_electrons)
    assert same(shifted(moved, -np.array(fractions)), still)


@given(SEEDS, st.tuples(*[st.sampled_from([3, 5])] * 3), st.tuples(*[st.integers(1, 2)] * 3), POINTS)
def test_a_supercell_is_the_crystal_repeated(seed, shape, repeats, points):
    density = crystal(seed, shape)
    larger = supercell(density, repeats)
    check(larger, "supercell")
    assert larger.n_electrons == density.n_electrons * np.prod(repeats)
    assert larger.volume_ang3 == pytest.approx(density.volume_ang3 * np.prod(repeats))
    np.testing.assert_array_equal(larger.values[: shape[0], : shape[1], : shape[2]], density.values)
    moved, expected = supercell(rolled(density, points), repeats), rolled(larger, points)
    np.testing.assert_array_equal(moved.values, expected.values)
    np.testing.assert_allclose(distances_ang(moved), distances_ang(expected), atol=1e-9)
    finer = tuple(2 * n + 1 for n in shape)
    repeated = tuple(n * m for n, m in zip(finer, repeats, strict=True))
    np.testing.assert_allclose(
        resample(larger.values, repeated), np.tile(resample(density.values, finer), repeats), atol=1e-11
    )
