"""Frozen tables of the elements, so that features do not depend on installed libraries.

``data/element_tables.json`` holds, with the versions that it was made from, MAGPIE's elemental properties (L. Ward et
al., npj Comput. Mater. 2, 16028 (2016), as matminer ships them), cohesive energies (C. Kittel, Introduction to Solid
State Physics, 8th ed. (2005), table 1 of chapter 3, as matminer ships it, and hydrogen), covalent radii (B. Cordero et
al., Dalton Trans. 2008, 2832) and pymatgen's moduli, molar volumes, electronegativities and masses.
"""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from rho2prop.core.errors import InputError

if TYPE_CHECKING:
    pass

PATH = Path(__file__).parent / "element_tables.json"
N_ELEMENTS = 118
BULK_MODULUS, SHEAR_MODULUS, MOLAR_VOLUME = "bulk_modulus_gpa", "shear_modulus_gpa", "molar_volume_cm3"
ELECTRONEGATIVITY, MASS = "electronegativity", "atomic_mass_u"
COVALENT_RADIUS, COHESIVE_ENERGY = "covalent_radius_ang", "cohesive_energy_ev_per_atom"


def of_elements(name: str, numbers: ArrayLike) -> np.ndarray:
    """Values of a table for atomic numbers, in the unit that its name says, same shape; NaN where unknown."""
    return _table(name)[checked(numbers) - 1]


def covalent_radii_ang(numbers: ArrayLike, source: str) -> np.ndarray:
    """Covalent radii in Å for atomic numbers, same shape; InputError that names ``source`` where one is unknown."""
    radii = of_elements(COVALENT_RADIUS, numbers)
    unknown = np.isnan(radii)
    if unknown.any():
        symbol = symbols()[np.asarray(numbers)[unknown][0] - 1]
        problem = f"no covalent radius of {symbol} is known, which features of the structure need"
        raise InputError(source, problem, "Use a model without such features, or leave the material out")
    return radii


def magpie_table() -> tuple[list[str], np.ndarray]:
    """Names of MAGPIE's elemental properties and their values in matminer's units, shape (118, P), row Z − 1."""
    names = list(_content()["magpie"])
    return names, np.stack([_table(name, "magpie") for name in names], axis=1)


def symbols() -> list[str]:
    """Symbols of the elements, hydrogen first."""
    return _content()["symbols"]


def table_digests() -> dict[str, str]:
    """SHA-256 of each table by its name: what a bundle's models were trained with."""
    return {
        f"{group}.{name}": hashlib.sha256(_table(name, group).astype("<f8").tobytes()).hexdigest()
        for group in ("tables", "magpie")
        for name in _content()[group]
    }


def source_versions() -> dict[str, str]:
    """Libraries that the tables were made from, with their versions."""
    return _content()["versions"]


def checked(numbers: ArrayLike) -> np.ndarray:
    """Atomic numbers as an array; InputError for numbers outside the periodic table."""
    numbers = np.asarray(numbers)
    if numbers.size and (numbers.min() < 1 or numbers.max() > N_ELEMENTS):
        raise InputError("atomic numbers", f"{numbers.min()} to {numbers.max()}", f"Give 1 to {N_ELEMENTS}")
    return numbers


@cache
def _content() -> dict:
    return json.loads(PATH.read_text(encoding="utf-8"))


@cache
def _table(name: str, group: str = "tables") -> np.ndarray:
    return np.array([np.nan if value is None else value for value in _content()[group][name]], dtype=np.float64)
