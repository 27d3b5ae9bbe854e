"""Checks of a density that a user gives: no overlapping atoms, values that vary, a possible number of electrons."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from rho2prop.core.errors import InputError
from rho2prop.crystals.structures import check_overlap
from rho2prop.densities.density import Density
from rho2prop.densities.electrons import check_electrons

SMALLEST_CONTRAST = 1e-3  # of the mean; densities of crystals vary more


def checked_density(density: Density, source: Path | str) -> Density:
    """The density with the remarks of all checks, or an InputError that names ``source``.

    Parameters
    ----------
    density
        Sound by ``rho2prop.densities.density.check``.
    source
        File it was read from.
    """
    check_overlap(density.lattice, density.numbers, density.frac_coords, source)
    values = density.values
    mean = float(values.mean(dtype=np.float64))
    if float(values.max()) - float(values.min()) < SMALLEST_CONTRAST * abs(mean):
        problem = f"is the same everywhere ({mean:.4g} e/Å³): it is not the density of a crystal"
        raise InputError(source, problem, "Give the density that the calculation wrote", code="flat")
    return replace(density, remarks=(*density.remarks, *check_electrons(density, source)))
