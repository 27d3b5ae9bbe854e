"""Points of a crystal that its density is looked at from: the same for every cell, axes and origin.

A grid that starts at one of them lies the same way between the atoms however the crystal is described.
"""

import numpy as np
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from rho2prop.crystals.structures import structure_from_density
from rho2prop.crystals.symmetry import SYMMETRY_TOLERANCE_ANG
from rho2prop.densities.density import Density


def origins(density: Density) -> np.ndarray:
    """Fractional coordinates of the origins, shape (n, 3).

    All atoms of the element that is rarest in the crystal (of several the heaviest), one of each set that lattice
    translations of the primitive cell make equal.
    """
    chosen, dataset = _rarest(density)
    _, first = np.unique(np.asarray(dataset.mapping_to_primitive)[chosen], return_index=True)
    return density.frac_coords[chosen[np.sort(first)]]


def distinct_origins(density: Density) -> tuple[np.ndarray, np.ndarray]:
    """Centres that no symmetry of the crystal makes equal, shape (n, 3), and the share of each in all, shape (n,).

    Enough for what does not depend on the orientation of the crystal.
    """
    chosen, dataset = _rarest(density)
    orbits = np.asarray(dataset.crystallographic_orbits)[chosen]
    _, first, counts = np.unique(orbits, return_index=True, return_counts=True)
    return density.frac_coords[chosen[first]], counts / counts.sum()


def _rarest(density: Density):
    found, counts = np.unique(density.numbers, return_counts=True)
    element = max(zip(-counts, found, strict=True))[1]
    analyzer = SpacegroupAnalyzer(structure_from_density(density), symprec=SYMMETRY_TOLERANCE_ANG)
    return np.flatnonzero(density.numbers == element), analyzer.get_symmetry_dataset()
