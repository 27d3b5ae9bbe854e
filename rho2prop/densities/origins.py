"""Origins: points of a crystal that do not depend on its cell, its axes or the origin of its coordinates.

A grid that starts at one of them lies the same way between the atoms however the crystal is described.
"""

import numpy as np
from pymatgen.core import Structure

from rho2prop.crystals.symmetry import Symmetry


def origins(structure: Structure, symmetry: Symmetry) -> np.ndarray:
    """Fractional coordinates of the origins, shape (n, 3).

    All atoms of the rarest element of the crystal (the heaviest of several), one of each set that lattice translations
    of the primitive cell make equivalent.
    """
    sites = _rarest(structure)
    _, first = np.unique(symmetry.mapping_to_primitive[sites], return_index=True)
    return structure.frac_coords[sites[np.sort(first)]]


def distinct_origins(structure: Structure, symmetry: Symmetry) -> tuple[np.ndarray, np.ndarray]:
    """Origins that no symmetry operation makes equivalent, shape (n, 3), and the share of each in all, shape (n,).

    Enough for what does not depend on the orientation of the crystal.
    """
    sites = _rarest(structure)
    _, first, counts = np.unique(symmetry.orbits[sites], return_index=True, return_counts=True)
    return structure.frac_coords[sites[first]], counts / counts.sum()


def _rarest(structure: Structure) -> np.ndarray:
    """Sites of the rarest element, of several the heaviest."""
    numbers = np.array(structure.atomic_numbers)
    elements, counts = np.unique(numbers, return_counts=True)
    rarest = max(zip(-counts, elements, strict=True))[1]
    return np.flatnonzero(numbers == rarest)
