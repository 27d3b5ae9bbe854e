"""Feature blocks of the crystal structure: volume and symmetry, elemental solids."""

import numpy as np
from pymatgen.core import Structure
from scipy import constants

from rho2prop.crystals import element_tables
from rho2prop.crystals.element_tables import COHESIVE_ENERGY, of_elements
from rho2prop.crystals.symmetry import CRYSTAL_SYSTEMS
from rho2prop.densities.crystal_description import CrystalDescription
from rho2prop.features.composition import element_shares

ANG3_PER_CM3_PER_MOL = 1e24 / constants.Avogadro
GPA_PER_EV_PER_ANG3 = constants.electron_volt * 1e30 / 1e9
GRAM_PER_U, CM3_PER_ANG3 = 1.6605390689199997e-24, 1e-8**3  # CODATA 2022; both rounded as pymatgen rounds them
BOND_FACTOR = 1.15  # neighbours within this multiple of the sum of covalent radii are counted as bonded


def elemental_solids_row(crystal: CrystalDescription) -> dict[str, float]:
    """Properties of the elemental solids, and the volume of the crystal relative to theirs.

    Sources: cohesive energies as in ``rho2prop.features.composition``; bulk and shear modulus, molar volume and
    electronegativity of pymatgen's table of the elements. Means are by atoms, over the elements with a value.

    Returns
    -------
    dict
        Energies in eV per atom, moduli in GPa, volumes in Å³ per atom; natural logarithms of the mean moduli and of the
        cohesive energy density, since moduli are products of powers of them; blank where no element of the material has
        a value.
    """
    structure = crystal.structure
    numbers, shares = element_shares(structure)
    values = {
        COHESIVE_ENERGY: of_elements(COHESIVE_ENERGY, numbers),
        "bulk_modulus_gpa": of_elements(element_tables.BULK_MODULUS, numbers),
        "shear_modulus_gpa": of_elements(element_tables.SHEAR_MODULUS, numbers),
        "volume_per_atom_ang3": of_elements(element_tables.MOLAR_VOLUME, numbers) * ANG3_PER_CM3_PER_MOL,
    }
    negativity = of_elements(element_tables.ELECTRONEGATIVITY, numbers)
    row = {}
    for name, of_element in values.items():
        known = ~np.isnan(of_element)
        row[f"{name}_mean"] = np.average(of_element[known], weights=shares[known]) if known.any() else np.nan
        row[f"{name}_min"] = of_element[known].min() if known.any() else np.nan
        row[f"{name}_max"] = of_element[known].max() if known.any() else np.nan
    for name in ("bulk_modulus", "shear_modulus"):
        row[f"log_{name}_mean"] = np.log(row.pop(f"{name}_gpa_mean"))
    volume_ang3 = structure.volume / len(structure)
    mean = np.average(negativity, weights=shares)
    return row | {
        "electronegativity_variance": np.average((negativity - mean) ** 2, weights=shares),
        "log_volume_ratio": np.log(volume_ang3 / row["volume_per_atom_ang3_mean"]),
        "log_cohesive_energy_density": np.log(row[f"{COHESIVE_ENERGY}_mean"] / volume_ang3 * GPA_PER_EV_PER_ANG3),
    }


def structure_row(crystal: CrystalDescription) -> dict[str, float]:
    """Volume and symmetry descriptors of the crystal.

    Returns
    -------
    dict
        Lengths in Å, volumes in Å³, mass density in g/cm³.
    """
    structure, symmetry = crystal.structure, crystal.symmetry
    radii = element_tables.covalent_radii_ang(structure.atomic_numbers, crystal.source)
    cutoff = 2 * BOND_FACTOR * radii.max() + 1.0
    nearest: list[float] = []
    relative: list[float] = []
    coordination: list[int] = []
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
        "space_group_number": symmetry.space_group_number,
        "crystal_system": CRYSTAL_SYSTEMS.index(symmetry.crystal_system),
        "n_sites_primitive": symmetry.n_sites_primitive,
    }


def _mass_u(structure: Structure) -> float:
    """Mass of the cell in u."""
    amounts = structure.composition
    masses = of_elements(element_tables.MASS, [element.Z for element in amounts])
    return sum(amount * mass for amount, mass in zip(amounts.values(), masses.tolist(), strict=True))
