"""Whether a density is one of a given crystal: formula, lattice and atoms."""

from pathlib import Path

import numpy as np
from pymatgen.core import Lattice, Structure

from rho2prop.core.errors import InputError
from rho2prop.crystals.structures import structure_from_density
from rho2prop.densities.density import Density

LATTICE_TOLERANCE = 1e-2  # relative, lengths and angles
POSITION_TOLERANCE_ANG = 0.05  # digits of files and a relaxation's last step; polymorphs differ by more
FIX = "Give the density that was computed for the structure in the same row"


def check_same_crystal(density: Density, structure: Structure, path: Path | str) -> None:
    """Raise InputError unless the density's crystal is ``structure``, however its cell and atoms are written.

    Parameters
    ----------
    density
        With its own cell and atoms.
    structure
        The material. Other lattice vectors of the same lattice, other order of the atoms, another origin are fine.
    path
        File of the density.
    """
    found = structure_from_density(density)
    if len(found) != len(structure) or found.composition.reduced_formula != structure.composition.reduced_formula:
        raise InputError(path, f"is the density of {found.formula}, expected {structure.formula}", FIX, code="crystal")
    if not _same_lattice(found.lattice, structure.lattice):
        cells = [np.round(lattice.parameters, 3).tolist() for lattice in (found.lattice, structure.lattice)]
        problem = f"has the cell {cells[0]} (Å, degrees), expected {cells[1]} as the structure has, within 1 %"
        raise InputError(path, problem, FIX, code="crystal")
    if _same_places(found, structure):
        return
    distance_ang = _largest_distance_ang(found, structure)
    if distance_ang is None or distance_ang > POSITION_TOLERANCE_ANG:
        by = "" if distance_ang is None else f" (by up to {distance_ang:.2f} Å)"
        problem = (
            f"is the density of another crystal of {found.composition.reduced_formula}: its atoms lie elsewhere{by}"
        )
        raise InputError(path, problem, FIX, code="crystal")


def _same_lattice(found: Lattice, expected: Lattice) -> bool:
    if np.allclose(found.parameters, expected.parameters, rtol=LATTICE_TOLERANCE, atol=0):
        return True
    # the same lattice may be written with other vectors
    return expected.find_mapping(found, ltol=LATTICE_TOLERANCE, atol=1.0) is not None


def _same_places(found: Structure, structure: Structure) -> bool:
    """Whether both have the same vectors and each atom its own like in the other, in whatever order."""
    if not np.allclose(found.lattice.parameters, structure.lattice.parameters, rtol=LATTICE_TOLERANCE, atol=0):
        return False
    lattice, free = structure.lattice.matrix, np.ones(len(structure), dtype=bool)
    numbers = np.array(structure.atomic_numbers)
    for site in found:
        difference = structure.frac_coords - site.frac_coords
        distances = np.linalg.norm((difference - np.round(difference)) @ lattice, axis=1)
        distances[~free | (numbers != site.specie.Z)] = np.inf
        nearest = int(np.argmin(distances))
        if distances[nearest] > POSITION_TOLERANCE_ANG:
            return False
        free[nearest] = False
    return True


def _largest_distance_ang(found: Structure, structure: Structure) -> float | None:
    """Largest distance of an atom from its like in the best mapping of both crystals, None if there is none."""
    from pymatgen.analysis.structure_matcher import StructureMatcher  # slow to import, seldom needed

    matcher = StructureMatcher(ltol=0.05, stol=0.3, angle_tol=3, primitive_cell=False, scale=False)
    match = matcher.get_rms_dist(found, structure)
    if match is None:
        return None
    return float(match[1] * (structure.volume / len(structure)) ** (1 / 3))  # pymatgen's unit of length
