"""Check that a density belongs to a given crystal: formula, lattice and atoms."""

from pathlib import Path

import numpy as np
from pymatgen.core import Lattice, Structure

from rho2prop.core.errors import InputError

LATTICE_TOLERANCE = 1e-2  # relative, lengths and angles
POSITION_TOLERANCE_ANG = 0.05  # covers the digits of files and the last step of a relaxation; polymorphs differ by more
FIX = "Give the density that was computed for the structure in the same row"


def check_same_crystal(crystal: Structure, expected: Structure, path: Path | str) -> None:
    """Raise InputError unless the crystal of a density is ``expected``, however its cell and atoms are written.

    Parameters
    ----------
    crystal
        Cell and atoms of the density.
    expected
        The material. Other lattice vectors of the same lattice, another order of the atoms and another origin are
        accepted.
    path
        File of the density.
    """
    if len(crystal) != len(expected):
        raise InputError(path, f"belongs to {crystal.formula}, expected {expected.formula}", FIX, code="crystal")
    _check_formula(crystal, expected, path)
    if not _same_lattice(crystal.lattice, expected.lattice):
        cells = [np.round(lattice.parameters, 3).tolist() for lattice in (crystal.lattice, expected.lattice)]
        problem = f"has the cell {cells[0]} (Å, degrees), expected {cells[1]} as the structure has, within 1 %"
        raise InputError(path, problem, FIX, code="crystal")
    if _same_places(crystal, expected):
        return
    distance_ang = _largest_distance_ang(crystal, expected)
    if distance_ang is None or distance_ang > POSITION_TOLERANCE_ANG:
        by = "" if distance_ang is None else f" (by up to {distance_ang:.2f} Å)"
        raise InputError(path, f"{_another(crystal)}: its atoms lie elsewhere{by}", FIX, code="crystal")


def check_same_material(
    crystal: Structure, expected: Structure, max_volume_difference: float, path: Path | str
) -> None:
    """Raise InputError unless the crystal of a density is ``expected`` in any cell of it, up to its volume.

    Parameters
    ----------
    crystal, expected, path
        As for ``check_same_crystal``.
    max_volume_difference
        Largest relative difference of volume per atom.
    """
    from pymatgen.analysis.structure_matcher import StructureMatcher  # slow to import, seldom needed

    _check_formula(crystal, expected, path)
    volumes = [structure.volume / len(structure) for structure in (crystal, expected)]
    if abs(volumes[0] / volumes[1] - 1) > max_volume_difference:
        problem = f"has {volumes[0]:.2f} Å³ per atom, expected {volumes[1]:.2f} within {max_volume_difference:.0%}"
        raise InputError(path, problem, FIX, code="crystal")
    if not StructureMatcher().fit(crystal, expected):  # any cell, scaled to one volume
        raise InputError(path, _another(crystal), FIX, code="crystal")


def _check_formula(crystal: Structure, expected: Structure, path: Path | str) -> None:
    if crystal.composition.reduced_formula != expected.composition.reduced_formula:
        raise InputError(path, f"belongs to {crystal.formula}, expected {expected.formula}", FIX, code="crystal")


def _another(crystal: Structure) -> str:
    return f"belongs to another crystal of {crystal.composition.reduced_formula}"


def _same_lattice(crystal: Lattice, expected: Lattice) -> bool:
    if np.allclose(crystal.parameters, expected.parameters, rtol=LATTICE_TOLERANCE, atol=0):
        return True
    # the same lattice may be written with other vectors
    return expected.find_mapping(crystal, ltol=LATTICE_TOLERANCE, atol=1.0) is not None


def _same_places(crystal: Structure, expected: Structure) -> bool:
    """Whether the cells agree and each atom has a partner of its element in the other crystal, in any order."""
    if not np.allclose(crystal.lattice.parameters, expected.lattice.parameters, rtol=LATTICE_TOLERANCE, atol=0):
        return False
    lattice, free = expected.lattice.matrix, np.ones(len(expected), dtype=bool)
    numbers = np.array(expected.atomic_numbers)
    for site in crystal:
        difference = expected.frac_coords - site.frac_coords
        distances = np.linalg.norm((difference - np.round(difference)) @ lattice, axis=1)
        distances[~free | (numbers != site.specie.Z)] = np.inf
        nearest = int(np.argmin(distances))
        if distances[nearest] > POSITION_TOLERANCE_ANG:
            return False
        free[nearest] = False
    return True


def _largest_distance_ang(crystal: Structure, expected: Structure) -> float | None:
    """Largest distance of an atom from its partner in the best mapping of both crystals, None without a mapping."""
    from pymatgen.analysis.structure_matcher import StructureMatcher  # slow to import, seldom needed

    matcher = StructureMatcher(ltol=0.05, stol=0.3, angle_tol=3, primitive_cell=False, scale=False)
    match = matcher.get_rms_dist(crystal, expected)
    if match is None:
        return None
    return float(match[1] * (expected.volume / len(expected)) ** (1 / 3))  # pymatgen's unit of length
