"""From a native periodic density to the cube of numbers that a network reads."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import ndimage

from rho2prop.densities.density import Density
from rho2prop.densities.fourier import resample

if TYPE_CHECKING:
    import torch

SPLINE_ORDER = 3


@dataclass(frozen=True)
class Grid:
    """Section ``grid`` of the configuration: how a density becomes a cube.

    Parameters
    ----------
    kind
        ``padded`` (the paper): the native array in the corner of a cube of zeros; an array that is longer than the
        cube is first Fourier-resampled, all axes by the same factor. ``window``: the periodic density sampled
        on a Cartesian cube of fixed voxel, centred on the origin of the cell.
    size
        Points along each edge.
    voxel_ang
        Distance of points in Å (``window`` only).
    """

    kind: Literal["window", "padded"]
    size: int
    voxel_ang: float


def to_grid(density: Density, grid: Grid) -> np.ndarray:
    """The density on a cube of ``grid.size``³ points.

    Parameters
    ----------
    density
        Density in e/Å³ on its native grid.
    grid
        The cube.

    Returns
    -------
    np.ndarray
        e/Å³, shape (size, size, size), float32. Point i of a window lies at (i − (size − 1)/2)·voxel_ang along each
        Cartesian axis, so that the 24 rotations of the cube are index rotations of the array. Values are point
        samples by a periodic cubic spline, the same for a cell and its supercells.
    """
    size = grid.size
    if grid.kind == "padded":
        cube = np.zeros((size,) * 3, dtype=np.float32)
        shape = padded_shape(density.values.shape, size)
        values = density.values if shape == density.values.shape else resample(density.values, shape)
        cube[: shape[0], : shape[1], : shape[2]] = values
        return cube
    if grid.kind == "window":
        points = window_fractions(density.lattice, grid)
        indices = points * np.array(density.values.shape).reshape(3, 1)
        coefficients = ndimage.spline_filter(density.values.astype(np.float64), SPLINE_ORDER, mode="grid-wrap")
        values = ndimage.map_coordinates(coefficients, indices, order=SPLINE_ORDER, mode="grid-wrap", prefilter=False)
        return values.reshape((size,) * 3).astype(np.float32)
    raise ValueError(f"unknown grid kind {grid.kind!r}; use padded or window")


def padded_shape(shape: tuple[int, int, int], size: int) -> tuple[int, int, int]:
    """Points of the native array that the padded cube holds: all, or shrunk by one factor for all axes."""
    if max(shape) <= size:
        return shape
    nx, ny, nz = (max(1, round(n * size / max(shape))) for n in shape)
    return nx, ny, nz


def window_fractions(lattice: np.ndarray, grid: Grid) -> np.ndarray:
    """Fractional coordinates of the points of a window, shape (3, size³)."""
    axis = (np.arange(grid.size) - (grid.size - 1) / 2) * grid.voxel_ang
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij")).reshape(3, -1)
    return np.linalg.inv(lattice).T @ points


def cell_mask(density: Density, grid: Grid) -> np.ndarray:
    """The points of a grid that belong to one real cell.

    For ``padded`` the native array without the zeros; for ``window`` the points inside the one cell around the
    centre (fractional coordinates in [−½, ½)), as far as the window holds it.

    Returns
    -------
    np.ndarray
        Boolean, shape (size, size, size).
    """
    if grid.kind == "padded":
        mask = np.zeros((grid.size,) * 3, dtype=bool)
        shape = padded_shape(density.values.shape, grid.size)
        mask[: shape[0], : shape[1], : shape[2]] = True
        return mask
    fractions = window_fractions(density.lattice, grid)
    return np.all((fractions >= -0.5) & (fractions < 0.5), axis=0).reshape((grid.size,) * 3)


def _rotation_group_t() -> list[tuple[tuple[int, int, int], tuple[int, ...]]]:
    """Permutation of the axes and flipped axes of the 12 proper rotations of a tetrahedron.

    The cyclic permutations (three-fold axes) times the flips of no or of two axes (two-fold axes): half of the
    24 rotations of the cube, and a group. The paper speaks of 12 orientations without naming them.
    """
    cyclic = ((0, 1, 2), (1, 2, 0), (2, 0, 1))
    flips = ((), (0, 1), (0, 2), (1, 2))
    return [(permutation, flipped) for permutation in cyclic for flipped in flips]


ORIENTATIONS = _rotation_group_t()


def rotate(grids: "torch.Tensor", orientation: int) -> "torch.Tensor":
    """Rotate cubes by moving elements only, on their device.

    Parameters
    ----------
    grids
        Shape (..., D, H, W).
    orientation
        Index into ``ORIENTATIONS``; 0 is the identity.
    """
    permutation, flipped = ORIENTATIONS[orientation]
    leading = grids.ndim - 3
    order = [*range(leading), *(leading + axis for axis in permutation)]
    return grids.permute(order).flip([leading + axis for axis in flipped])
