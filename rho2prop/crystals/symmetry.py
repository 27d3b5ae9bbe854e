"""Symmetry of a crystal, with one tolerance for all that asks for it."""

from pymatgen.core import Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

CRYSTAL_SYSTEMS = ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic")
SYMMETRY_TOLERANCE_ANG = 0.01


def crystal_system(structure: Structure) -> str:
    """Crystal system in the seven-system naming of the paper's Fig. 2."""
    return SpacegroupAnalyzer(structure, symprec=SYMMETRY_TOLERANCE_ANG).get_crystal_system()


def space_group_number(structure: Structure) -> int:
    """International number of the space group."""
    return SpacegroupAnalyzer(structure, symprec=SYMMETRY_TOLERANCE_ANG).get_space_group_number()
