"""What is asked of a density that a user gives: atoms that do not overlap, a field that varies, a possible count."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from rho2prop.core.errors import InputError
from rho2prop.crystals.limits import SHORTEST_DISTANCE_ANG
from rho2prop.densities.density import Density
from rho2prop.densities.electrons import check_electrons

SMALLEST_CONTRAST = 1e-3  # of the mean: the density of no crystal is that flat
ROWS = 256


def checked_density(density: Density, source: Path | str) -> Density:
    """The density with the remarks of all checks, or an InputError that names ``source``.

    Parameters
    ----------
    density
        Sound by ``rho2prop.densities.density.check``.
    source
        File it was read from.
    """
    _check_atoms(density, source)
    values = density.values
    mean = float(values.mean(dtype=np.float64))
    if float(values.max()) - float(values.min()) < SMALLEST_CONTRAST * abs(mean):
        problem = f"is the same everywhere ({mean:.4g} e/Å³): it is not the density of a crystal"
        raise InputError(source, problem, "Give the density that the calculation wrote", code="flat")
    return replace(density, remarks=(*density.remarks, *check_electrons(density, source)))


def _check_atoms(density: Density, source: Path | str) -> None:
    coords, lattice = density.frac_coords, np.asarray(density.lattice, dtype=np.float64)
    heights = 1 / np.linalg.norm(np.linalg.inv(lattice), axis=0)  # of the cell above each of its faces, Å
    if heights.min() < SHORTEST_DISTANCE_ANG:
        problem = f"has a cell that is {heights.min():.3g} Å thin"
        raise InputError(source, problem, "Check the lattice vectors: they must be in Å")
    # Closer than 0.5 Å means closer than 0.5 Å / height along each axis: only these images can be
    ranges = [np.arange(-1, 2) if height < 2 * SHORTEST_DISTANCE_ANG else np.zeros(1) for height in heights]
    images = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
    for start in range(0, len(coords), ROWS):
        difference = coords[start : start + ROWS, None] - coords[None]
        difference -= np.round(difference)
        for image in images:
            squares = np.sum(((difference + image) @ lattice) ** 2, axis=-1)
            if not image.any():
                squares[np.arange(len(squares)), start + np.arange(len(squares))] = np.inf  # an atom and itself
            closest = np.unravel_index(np.argmin(squares), squares.shape)
            if squares[closest] < SHORTEST_DISTANCE_ANG**2:
                first, second = sorted((int(start + closest[0]) + 1, int(closest[1]) + 1))
                problem = f"has overlapping atoms ({first} and {second} are {squares[closest] ** 0.5:.3f} Å apart)"
                raise InputError(source, problem, "Remove the duplicate or correct the coordinates", code="overlap")
