"""Symmetry of a crystal: one spglib dataset with one tolerance for every part of the package."""

from dataclasses import dataclass

import numpy as np
from pymatgen.core import Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

CRYSTAL_SYSTEMS = ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic")
SYMMETRY_TOLERANCE_ANG = 0.01


@dataclass(frozen=True)
class Symmetry:
    """Space group and equivalent sites of a crystal.

    Parameters
    ----------
    space_group_number
        International number, 1 to 230.
    crystal_system
        One of ``CRYSTAL_SYSTEMS``.
    orbits
        For each site the first site that a symmetry operation maps onto it, shape (n,).
    mapping_to_primitive
        For each site its site in the primitive cell, shape (n,): lattice translations make sites with equal values
        equivalent.
    """

    space_group_number: int
    crystal_system: str
    orbits: np.ndarray
    mapping_to_primitive: np.ndarray

    @property
    def n_sites_primitive(self) -> int:
        """Number of sites in the primitive cell."""
        return len(np.unique(self.mapping_to_primitive))


def symmetry(structure: Structure) -> Symmetry:
    """Symmetry of a crystal within ``SYMMETRY_TOLERANCE_ANG``."""
    analyzer = SpacegroupAnalyzer(structure, symprec=SYMMETRY_TOLERANCE_ANG)
    dataset = analyzer.get_symmetry_dataset()
    return Symmetry(
        analyzer.get_space_group_number(),
        analyzer.get_crystal_system(),
        np.asarray(dataset.crystallographic_orbits),
        np.asarray(dataset.mapping_to_primitive),
    )
