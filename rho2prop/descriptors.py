"""Feature blocks that need no density: composition (MAGPIE) and crystal structure."""

import warnings

import numpy as np
import pandas as pd
from pymatgen.core import Element, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer
from scipy import constants

CRYSTAL_SYSTEMS = ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic")
SYMMETRY_TOLERANCE_ANG = 0.01
COHESIVE_ENERGY = "cohesive_energy_ev_per_atom"  # the one column of the block cohesion
ANG3_PER_CM3_PER_MOL = 1e24 / constants.Avogadro
GPA_PER_EV_PER_ANG3 = constants.electron_volt * 1e30 / 1e9
HEAVIEST = 103  # atomic number of the last element of the block composition
BOND_FACTOR = 1.15  # neighbours within this multiple of the sum of covalent radii are counted as bonded


def magpie_features(structures: dict[str, Structure]) -> pd.DataFrame:
    """The 132 MAGPIE composition descriptors by matminer.

    Source: L. Ward et al., npj Comput. Mater. 2, 16028 (2016); matminer preset "magpie".

    Returns
    -------
    pandas.DataFrame
        Index ``material_id``, one column per descriptor.
    """
    from matminer.featurizers.composition import ElementProperty

    featurizer = ElementProperty.from_preset("magpie", impute_nan=False)
    names = featurizer.feature_labels()
    rows = {name: featurizer.featurize(structure.composition) for name, structure in structures.items()}
    return _frame(rows, names)


def structure_features(structures: dict[str, Structure]) -> pd.DataFrame:
    """Volume-like and symmetry descriptors of the crystal: the control that any density feature has to beat.

    Returns
    -------
    pandas.DataFrame
        Index ``material_id``. Lengths in Å, volumes in Å³, mass density in g/cm³.
    """
    rows = {name: _structure_row(structure) for name, structure in structures.items()}
    return _frame({name: list(row.values()) for name, row in rows.items()}, list(next(iter(rows.values()), {})))


def cohesion_features(structures: dict[str, Structure]) -> pd.DataFrame:
    """Mean cohesive energy of the elements: minus the formation energy that a compound has if it gains no bond.

    Source: ``rho2prop.formation.cohesive_energies_ev``. Models learn the formation energy relative to it
    (``rho2prop.families``).

    Returns
    -------
    pandas.DataFrame
        Index ``material_id``, one column in eV per atom; blank where an element has no measured value.
    """
    from rho2prop.formation import cohesive_energies_ev

    cohesive_ev = cohesive_energies_ev()
    rows = {}
    for name, structure in structures.items():
        fractions = structure.composition.fractional_composition
        rows[name] = [sum(share * cohesive_ev.get(element.symbol, np.nan) for element, share in fractions.items())]
    return _frame(rows, [COHESIVE_ENERGY])


def composition_features(structures: dict[str, Structure]) -> pd.DataFrame:
    """Share of each element in the atoms: what a model that adds up contributions of the elements reads.

    Returns
    -------
    pandas.DataFrame
        Index ``material_id``, one column for each element up to lawrencium; rows add up to 1.
    """
    symbols = [Element.from_Z(number).symbol for number in range(1, HEAVIEST + 1)]
    rows = {}
    for name, structure in structures.items():
        fractions = structure.composition.fractional_composition.get_el_amt_dict()
        rows[name] = [fractions.get(symbol, 0.0) for symbol in symbols]
    return _frame(rows, symbols)


def element_features(structures: dict[str, Structure]) -> pd.DataFrame:
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
    from rho2prop.formation import cohesive_energies_ev

    cohesive_ev = cohesive_energies_ev()
    rows = {name: _element_row(structure, cohesive_ev) for name, structure in structures.items()}
    return _frame({name: list(row.values()) for name, row in rows.items()}, list(next(iter(rows.values()), {})))


def _element_row(structure: Structure, cohesive_ev: dict[str, float]) -> dict[str, float]:
    elements, shares = zip(*structure.composition.fractional_composition.items(), strict=True)
    shares = np.array(shares)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="No (data available|Pauling)")  # blank then
        values = {
            COHESIVE_ENERGY: [cohesive_ev.get(element.symbol) for element in elements],
            "bulk_modulus_gpa": [element.bulk_modulus for element in elements],
            "shear_modulus_gpa": [element.rigidity_modulus for element in elements],
            "volume_per_atom_ang3": [
                None if element.molar_volume is None else element.molar_volume * ANG3_PER_CM3_PER_MOL
                for element in elements
            ],
        }
        negativity = np.array([element.X for element in elements], dtype=float)
    row = {}
    for name, given in values.items():
        one = np.array([np.nan if value is None else float(value) for value in given])
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


def crystal_system(structure: Structure) -> str:
    """Crystal system in the seven-system naming of the paper's Fig. 2."""
    return SpacegroupAnalyzer(structure, symprec=SYMMETRY_TOLERANCE_ANG).get_crystal_system()


def space_group_number(structure: Structure) -> int:
    """International number of the space group."""
    return SpacegroupAnalyzer(structure, symprec=SYMMETRY_TOLERANCE_ANG).get_space_group_number()


def _structure_row(structure: Structure) -> dict[str, float]:
    from pymatgen.analysis.local_env import CovalentRadius  # seconds, and every job imports this module

    analyzer = SpacegroupAnalyzer(structure, symprec=SYMMETRY_TOLERANCE_ANG)
    primitive = analyzer.find_primitive() or structure
    radii = np.array([CovalentRadius.radius[site.specie.symbol] for site in structure])
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
        "mass_density_g_cm3": float(structure.density),
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


def _frame(rows: dict[str, list], columns: list[str]) -> pd.DataFrame:
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=columns, dtype=float)
    return frame.rename_axis("material_id")
