"""Feature blocks that need no density: composition (MAGPIE) and crystal structure."""

import numpy as np
import pandas as pd
from pymatgen.core import Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer
from scipy import constants

from rho2prop.crystals import element_tables
from rho2prop.crystals.element_tables import of_elements
from rho2prop.crystals.symmetry import CRYSTAL_SYSTEMS, SYMMETRY_TOLERANCE_ANG
from rho2prop.features.magpie_table import magpie_row

COHESIVE_ENERGY = element_tables.COHESIVE_ENERGY  # the one column of the block cohesive_energy
ANG3_PER_CM3_PER_MOL = 1e24 / constants.Avogadro
GPA_PER_EV_PER_ANG3 = constants.electron_volt * 1e30 / 1e9
GRAM_PER_U, CM3_PER_ANG3 = 1.6605390689199997e-24, 1e-8**3  # CODATA 2022; both rounded as pymatgen rounds them
HEAVIEST = 103  # atomic number of the last element of the block composition
BOND_FACTOR = 1.15  # neighbours within this multiple of the sum of covalent radii are counted as bonded


def magpie_features(structures: dict[str, Structure]) -> pd.DataFrame:
    """The 132 MAGPIE composition descriptors, as matminer's preset "magpie".

    Source: L. Ward et al., npj Comput. Mater. 2, 16028 (2016).

    Returns
    -------
    pandas.DataFrame
        Index ``material_id``, one column per descriptor.
    """
    return _table({name: magpie_row(_numbers(structure)) for name, structure in structures.items()})


def structure_features(structures: dict[str, Structure]) -> pd.DataFrame:
    """Volume-like and symmetry descriptors of the crystal: the control that any density feature has to beat.

    Returns
    -------
    pandas.DataFrame
        Index ``material_id``. Lengths in Å, volumes in Å³, mass density in g/cm³.
    """
    element_tables.require_radii(structures)
    return _table({name: _structure_row(structure) for name, structure in structures.items()})


def cohesive_energy_features(structures: dict[str, Structure]) -> pd.DataFrame:
    """Mean cohesive energy of the elements: minus the formation energy that a compound has if it gains no bond.

    Source: C. Kittel (``rho2prop.crystals.element_tables``). Models learn the formation energy relative to it
    (``rho2prop.models.families``).

    Returns
    -------
    pandas.DataFrame
        Index ``material_id``, one column in eV per atom; blank where an element has no measured value.
    """
    rows = {}
    for name, structure in structures.items():
        numbers, shares = _elements(structure)
        # added up one by one: a sum of NumPy may differ in its last bit
        rows[name] = {COHESIVE_ENERGY: sum((shares * of_elements(COHESIVE_ENERGY, numbers)).tolist())}
    return _table(rows)


def composition_features(structures: dict[str, Structure]) -> pd.DataFrame:
    """Share of each element in the atoms: what a model that adds up contributions of the elements reads.

    Returns
    -------
    pandas.DataFrame
        Index ``material_id``, one column for each element up to lawrencium; rows add up to 1.
    """
    symbols = element_tables.symbols()
    rows = {}
    for name, structure in structures.items():
        share_of = {symbols[number - 1]: share for number, share in zip(*_elements(structure), strict=True)}
        rows[name] = {symbol: share_of.get(symbol, 0.0) for symbol in symbols[:HEAVIEST]}
    return _table(rows)


def elemental_solid_features(structures: dict[str, Structure]) -> pd.DataFrame:
    """What the elements are as solids of their own, and how the crystal's volume compares with theirs.

    Sources: cohesive energies as above; bulk and shear modulus, molar volume and electronegativity of pymatgen's table
    of the elements. Means are by atoms, over the elements with a value.

    Returns
    -------
    pandas.DataFrame
        Index ``material_id``. Energies in eV per atom, moduli in GPa, volumes in Å³ per atom; natural logarithms of
        the mean moduli and of the cohesive energy density, since moduli are products of powers of them; blank where no
        element of the material has a value.
    """
    return _table({name: _element_row(structure) for name, structure in structures.items()})


def _element_row(structure: Structure) -> dict[str, float]:
    numbers, shares = _elements(structure)
    values = {
        COHESIVE_ENERGY: of_elements(COHESIVE_ENERGY, numbers),
        "bulk_modulus_gpa": of_elements(element_tables.BULK_MODULUS, numbers),
        "shear_modulus_gpa": of_elements(element_tables.SHEAR_MODULUS, numbers),
        "volume_per_atom_ang3": of_elements(element_tables.MOLAR_VOLUME, numbers) * ANG3_PER_CM3_PER_MOL,
    }
    negativity = of_elements(element_tables.ELECTRONEGATIVITY, numbers)
    row = {}
    for name, one in values.items():
        known = ~np.isnan(one)
        row[f"{name}_mean"] = np.average(one[known], weights=shares[known]) if known.any() else np.nan
        row[f"{name}_min"] = one[known].min() if known.any() else np.nan
        row[f"{name}_max"] = one[known].max() if known.any() else np.nan
    for name in ("bulk_modulus", "shear_modulus"):
        row[f"log_{name}_mean"] = np.log(row.pop(f"{name}_gpa_mean"))
    volume_ang3 = structure.volume / len(structure)
    mean = np.average(negativity, weights=shares)
    return row | {
        "electronegativity_variance": np.average((negativity - mean) ** 2, weights=shares),
        "log_volume_ratio": np.log(volume_ang3 / row["volume_per_atom_ang3_mean"]),
        "log_cohesive_energy_density": np.log(row[f"{COHESIVE_ENERGY}_mean"] / volume_ang3 * GPA_PER_EV_PER_ANG3),
    }


def _structure_row(structure: Structure) -> dict[str, float]:
    analyzer = SpacegroupAnalyzer(structure, symprec=SYMMETRY_TOLERANCE_ANG)
    primitive = analyzer.find_primitive() or structure
    radii = of_elements(element_tables.COVALENT_RADIUS, _numbers(structure))
    cutoff = 2 * BOND_FACTOR * radii.max() + 1.0
    nearest, relative, coordination = [], [], []
    while len(nearest) < len(structure):
        nearest, relative, coordination = [], [], []
        for radius, neighbours in zip(radii, structure.get_all_neighbors(cutoff), strict=True):
            if not neighbours:
                cutoff *= 1.5
                break
            distances = np.array([neighbour.nn_distance for neighbour in neighbours])
            sums = radius + radii[[neighbour.index for neighbour in neighbours]]
            nearest.append(distances.min())
            relative.append((distances / sums).min())
            coordination.append(np.sum(distances < BOND_FACTOR * sums))
    return {
        "volume_per_atom_ang3": structure.volume / len(structure),
        "mass_density_g_cm3": _mass_u(structure) * GRAM_PER_U / (structure.volume * CM3_PER_ANG3),
        "packing_fraction": 4 / 3 * np.pi * np.sum(radii**3) / structure.volume,
        "nearest_distance_min_ang": min(nearest),
        "nearest_distance_mean_ang": np.mean(nearest),
        "nearest_distance_max_ang": max(nearest),
        "bond_ratio_min": min(relative),
        "bond_ratio_mean": np.mean(relative),
        "coordination_mean": np.mean(coordination),
        "coordination_min": min(coordination),
        "coordination_max": max(coordination),
        "space_group_number": analyzer.get_space_group_number(),
        "crystal_system": CRYSTAL_SYSTEMS.index(analyzer.get_crystal_system()),
        "n_sites_primitive": len(primitive),
    }


def _numbers(structure: Structure) -> np.ndarray:
    return np.array(structure.atomic_numbers)


def _elements(structure: Structure) -> tuple[np.ndarray, np.ndarray]:
    """Atomic numbers in the order of the sites, which the last bit of sums depends on, and shares of the atoms."""
    fractions = structure.composition.fractional_composition
    return np.array([element.Z for element in fractions]), np.array(list(fractions.values()))


def _mass_u(structure: Structure) -> float:
    """Mass of the cell in u."""
    amounts = structure.composition
    masses = of_elements(element_tables.MASS, [element.Z for element in amounts])
    return sum(amount * mass for amount, mass in zip(amounts.values(), masses.tolist(), strict=True))


def _table(rows: dict[str, dict[str, float]]) -> pd.DataFrame:
    return pd.DataFrame.from_dict(rows, orient="index", dtype=float).rename_axis("material_id")
