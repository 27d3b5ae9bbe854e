"""Feature blocks of the composition besides MAGPIE: element fractions and mean cohesive energy."""

import numpy as np
from pymatgen.core import Structure

from rho2prop.crystals import element_tables
from rho2prop.crystals.element_tables import COHESIVE_ENERGY, of_elements
from rho2prop.densities.crystal_description import CrystalDescription

HEAVIEST = 103  # atomic number of the last element of the block composition


def composition_row(crystal: CrystalDescription) -> dict[str, float]:
    """Fraction of each element, for models that sum contributions of the elements.

    Returns
    -------
    dict
        One value for each element up to lawrencium; they add up to 1.
    """
    symbols = element_tables.symbols()
    share_of = {symbols[number - 1]: share for number, share in zip(*element_shares(crystal.structure), strict=True)}
    return {symbol: share_of.get(symbol, 0.0) for symbol in symbols[:HEAVIEST]}


def cohesive_energy_row(crystal: CrystalDescription) -> dict[str, float]:
    """Mean cohesive energy of the elements, the atomization energy of a mixture of the elemental solids.

    Source: C. Kittel (``rho2prop.crystals.element_tables``). Models learn the atomization energy relative to it
    (``rho2prop.models.estimator``).

    Returns
    -------
    dict
        One value in eV per atom; blank where an element has no measured value.
    """
    numbers, shares = element_shares(crystal.structure)
    # added up one by one: a sum of NumPy may differ in its last bit
    return {COHESIVE_ENERGY: sum((shares * of_elements(COHESIVE_ENERGY, numbers)).tolist())}


def element_shares(structure: Structure) -> tuple[np.ndarray, np.ndarray]:
    """Atomic numbers in the order of the sites, which the last bit of sums depends on, and shares of the atoms."""
    fractions = structure.composition.fractional_composition
    return np.array([element.Z for element in fractions]), np.array(list(fractions.values()))
