"""Lattice and atoms of a density file, without its grid."""

import zipfile
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from pymatgen.core import Structure

from rho2prop.core.errors import InputError
from rho2prop.crystals.structures import structure_from_density


def stored_structure(path: Path | str) -> Structure:
    """Structure of a density that ``rho2prop.densities.density.write_npz`` wrote; the grid is not decompressed."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            crystal = SimpleNamespace(**{key: archive[key] for key in ("lattice", "numbers", "frac_coords")})
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        problem = f"its lattice and atoms cannot be read ({error})"
        raise InputError(path, problem, "Delete its folder: it is computed again", code="unreadable") from error
    return structure_from_density(crystal)
