"""Other descriptions of the same crystal: rotated, shifted, as a supercell. No property may change."""

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations, product
from typing import Any

import numpy as np
from scipy import fft

from rho2prop.densities.density import Density
from rho2prop.densities.fourier import half_spectrum, shifted_spectrum


def _cube_rotations() -> list[np.ndarray]:
    """The 24 proper rotations of a cube as matrices, the identity first."""
    matrices = []
    for order, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        matrix = np.zeros((3, 3), dtype=int)
        matrix[range(3), order] = signs
        if round(np.linalg.det(matrix)) == 1:
            matrices.append(matrix)
    return matrices


ROTATIONS = _cube_rotations()


def rotated(density: Density, rotation: np.ndarray) -> Density:
    """The crystal rotated in space, its cell vectors renamed in the same way.

    Parameters
    ----------
    density
        Any density.
    rotation
        One of ``ROTATIONS``: a signed permutation R.

    Returns
    -------
    Density
        Lattice R L Rᵀ with the array turned by index: a rotated array for a padded grid, a rotated crystal for a
        window. Exact: nothing is interpolated.
    """
    order = np.abs(rotation).argmax(axis=1)
    signs = rotation[range(3), order]
    return replace(
        density,
        **_changed(density, lambda values: _turned(values, order, signs)),
        lattice=rotation @ density.lattice @ rotation.T,
        frac_coords=(density.frac_coords[:, order] * signs) % 1.0,
    )


def _changed(density: Density, change: Callable[[np.ndarray], np.ndarray]) -> dict[str, Any]:
    """Density and promolecule after the same transformation."""
    promolecule = density.promolecule
    return {"values": change(density.values), "promolecule": None if promolecule is None else change(promolecule)}


def _turned(values: np.ndarray, order: np.ndarray, signs: np.ndarray) -> np.ndarray:
    values = values.transpose(order)
    for axis in np.flatnonzero(signs < 0).tolist():
        values = np.roll(np.flip(values, axis), 1, axis)  # point j goes to −j: 0 stays
    return np.ascontiguousarray(values)


def rolled(density: Density, points: tuple[int, int, int]) -> Density:
    """The crystal moved by whole grid points along its lattice vectors: exact."""
    changed = _changed(density, lambda values: np.roll(values, points, axis=(0, 1, 2)))
    return _moved(density, changed, np.array(points) / density.values.shape)


def shifted(density: Density, fractions: np.ndarray) -> Density:
    """The crystal moved by fractions of its lattice vectors, in Fourier space (shift theorem).

    The Nyquist terms of even axes have no definite phase: they are dropped, also for a shift by nothing
    (``rho2prop.densities.fourier.half_spectrum``), so that the density around an atom does not depend on where the
    points of the grid were.
    """
    changed = _changed(density, lambda values: _shifted(values, fractions))
    return _moved(density, changed, np.asarray(fractions, dtype=float))


def _shifted(values: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    return fft.irfftn(shifted_spectrum(half_spectrum(values), values.shape, fractions), values.shape)


def _moved(density: Density, changed: dict, fractions: np.ndarray) -> Density:
    return replace(density, **changed, frac_coords=(density.frac_coords + fractions) % 1.0)


def supercell(density: Density, repeats: tuple[int, int, int]) -> Density:
    """The crystal described by a cell that is ``repeats`` times as long along each lattice vector."""
    n_cells = int(np.prod(repeats))
    offsets = np.array(list(np.ndindex(*repeats)))
    coords = (density.frac_coords[:, None] + offsets[None]).reshape(-1, 3) / np.array(repeats)
    return replace(
        density,
        **_changed(density, lambda values: np.tile(values, repeats)),
        lattice=density.lattice * np.array(repeats)[:, None],
        numbers=np.repeat(density.numbers, n_cells),
        frac_coords=coords,
        n_electrons=density.n_electrons * n_cells,
    )
