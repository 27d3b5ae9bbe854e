from dataclasses import replace

import numpy as np
import pytest
import torch
from standins.refusals import refused

from rho2prop.densities.grids import ORIENTATIONS, Grid, cell_mask, rotate, to_grid

WINDOW = Grid("window", 16, 0.35)


def test_a_supercell_gives_the_window_of_its_cell(density):
    doubled = replace(
        density, values=np.tile(density.values, (1, 2, 1)), lattice=density.lattice * np.array([[1], [2], [1]])
    )
    window = to_grid(density, WINDOW)
    np.testing.assert_allclose(to_grid(doubled, WINDOW), window, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("orientation", range(12))
def test_a_rotated_crystal_gives_the_rotated_window(density, orientation):
    window = to_grid(density, WINDOW)
    turned = rotate(torch.from_numpy(window), orientation).numpy()
    permutation, flipped = ORIENTATIONS[orientation]
    lattice = density.lattice[:, permutation].copy()
    lattice[:, list(flipped)] *= -1
    np.testing.assert_allclose(to_grid(replace(density, lattice=lattice), WINDOW), turned, rtol=1e-5, atol=1e-6)


def test_window_points_lie_where_the_docstring_says(density):
    """Odd size: the middle point is the origin of the cell, so the first value of the native grid."""
    window = to_grid(density, Grid("window", 9, 0.3))
    assert window[4, 4, 4] == pytest.approx(density.values[0, 0, 0], rel=1e-6)


def test_a_wide_window_holds_the_mean_density(density):
    window = to_grid(density, Grid("window", 64, 0.3))
    assert window.mean() == pytest.approx(density.n_electrons / density.volume_ang3, rel=0.02)


def test_padded_grid_keeps_values_and_electrons(density):
    grid = to_grid(density, Grid("padded", 32, 0.0))
    np.testing.assert_array_equal(grid[:20, :24, :27], density.values.astype(np.float32))
    assert np.count_nonzero(grid[20:]) == 0
    assert cell_mask(density, Grid("padded", 32, 0.0)).sum() == density.values.size


def test_a_density_longer_than_the_padded_cube_is_shrunk_with_its_mean(density):
    grid = to_grid(density, Grid("padded", 16, 0.0))
    mask = cell_mask(density, Grid("padded", 16, 0.0))
    assert mask.sum() == 12 * 14 * 16
    assert grid[mask].mean() == pytest.approx(density.values.mean(), rel=1e-5)


def test_the_mask_of_a_window_has_the_volume_of_the_cell(density):
    mask = cell_mask(density, Grid("window", 64, 0.15))
    assert mask.sum() * 0.15**3 == pytest.approx(density.volume_ang3, rel=0.02)


def test_twelve_distinct_proper_rotations_that_form_a_group():
    cube = torch.arange(27.0).reshape(3, 3, 3)
    turned = [rotate(cube, i) for i in range(12)]
    as_sets = {tuple(one.flatten().tolist()) for one in turned}
    assert len(as_sets) == 12
    products = {tuple(rotate(one, i).flatten().tolist()) for one in turned for i in range(12)}
    assert products == as_sets
    for permutation, flipped in ORIENTATIONS:
        matrix = np.eye(3)[list(permutation)]
        matrix[list(flipped)] *= -1
        assert np.linalg.det(matrix) == pytest.approx(1.0)


def test_an_unknown_kind_is_refused(density):
    with refused("padded", "window", by=ValueError):
        to_grid(density, Grid("sphere", 16, 0.3))
