"""Young's modulus, Poisson's ratio and elastic Debye temperature from bulk and shear modulus."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import constants

from rho2prop.core.targets import spread_of
from rho2prop.crystals.element_tables import MASS, of_elements

POISSON = "poisson_ratio"  # not a target: it has no labels of its own
BULK, SHEAR, YOUNG, DEBYE = (
    "bulk_modulus_gpa",
    "shear_modulus_gpa",
    "youngs_modulus_gpa",
    "debye_temperature_k",
)
PASCAL_PER_GPA = 1e9
CUBIC_METRE_PER_ANG3 = 1e-30
ATOMIC_MASS_KG = constants.physical_constants["atomic mass constant"][0]


def youngs_modulus_gpa(k_gpa: ArrayLike, g_gpa: ArrayLike) -> np.ndarray:
    """Young's modulus E = 9KG/(3K+G) of an isotropic solid, in GPa; 0 where K or G is not positive.

    Parameters
    ----------
    k_gpa, g_gpa
        Bulk and shear modulus in GPa, scalars or arrays of one shape. A regression may predict a modulus
        below zero; it counts as 0, the limit of mechanical stability.
    """
    k, g = _stable(k_gpa, g_gpa)
    denominator = 3 * k + g
    return 9 * k * g / np.where(denominator > 0, denominator, 1.0)


def poisson_ratio(k_gpa: ArrayLike, g_gpa: ArrayLike) -> np.ndarray:
    """Poisson's ratio ν = (3K−2G)/(6K+2G), without unit; K and G in GPa, positive."""
    k, g = np.asarray(k_gpa, dtype=float), np.asarray(g_gpa, dtype=float)
    return (3 * k - 2 * g) / (6 * k + 2 * g)


def debye_temperature_k(
    k_gpa: ArrayLike, g_gpa: ArrayLike, volume_per_atom_ang3: ArrayLike, mean_atomic_mass_u: ArrayLike
) -> np.ndarray:
    """Elastic Debye temperature in K from the mean velocity of sound.

    Θ = (h/k_B) (3n/4π)^⅓ v_m with n atoms per volume, v_m = [(2/v_t³ + 1/v_l³)/3]^−⅓, v_t = √(G/ρ) and
    v_l = √((K + 4G/3)/ρ). Source: O. L. Anderson, J. Phys. Chem. Solids 24, 909 (1963).

    Parameters
    ----------
    k_gpa, g_gpa
        Voigt-Reuss-Hill bulk and shear modulus in GPa; below zero counts as 0, and G = 0 gives Θ = 0.
    volume_per_atom_ang3
        Volume per atom in Å³.
    mean_atomic_mass_u
        Mean atomic mass in u.
    """
    k, g = _stable(k_gpa, g_gpa)
    volume = np.asarray(volume_per_atom_ang3, dtype=float) * CUBIC_METRE_PER_ANG3
    mass_density = np.asarray(mean_atomic_mass_u, dtype=float) * ATOMIC_MASS_KG / volume
    transverse = np.sqrt(g * PASCAL_PER_GPA / mass_density)
    longitudinal = np.sqrt((k + 4 / 3 * g) * PASCAL_PER_GPA / mass_density)
    # Written with v_t/v_l ≤ 1 so that G = 0 needs no division by v_t.
    ratio = np.where(longitudinal > 0, transverse / np.where(longitudinal > 0, longitudinal, 1.0), 0.0)
    mean_velocity = transverse * ((2 + ratio**3) / 3) ** (-1 / 3)
    return constants.h / constants.k * (3 / (4 * np.pi * volume)) ** (1 / 3) * mean_velocity


def mean_atomic_mass_u(formula: str) -> float:
    """Mean atomic mass of a chemical formula, in u."""
    from pymatgen.core import Composition

    composition = Composition(formula)
    masses = of_elements(MASS, [element.Z for element in composition]).tolist()
    return sum(amount * mass for amount, mass in zip(composition.values(), masses, strict=True)) / composition.num_atoms


def derive_from_kg(predicted: pd.DataFrame, materials: pd.DataFrame) -> pd.DataFrame:
    """E and Θ that follow from predicted K and G; no columns where K or G is not there.

    Parameters
    ----------
    predicted
        Index ``material_id``, columns by target in GPa; where ``spread_of`` K and G are there, those of E and Θ follow.
    materials
        Table with ``material_id, formula, volume_per_atom_ang3``.

    Notes
    -----
    Spreads are standard deviations of logarithms. Errors of K and G count as independent, each carried through by
    half the difference of the results at one standard deviation above and below.
    """
    if not {BULK, SHEAR} <= set(predicted.columns):
        return predicted[[]]
    rows = materials.set_index("material_id").loc[predicted.index]
    masses = np.array([mean_atomic_mass_u(formula) for formula in rows["formula"]])
    volumes = rows["volume_per_atom_ang3"].to_numpy(dtype=float)

    def derive(k: np.ndarray, g: np.ndarray) -> dict[str, np.ndarray]:
        return {YOUNG: youngs_modulus_gpa(k, g), DEBYE: debye_temperature_k(k, g, volumes, masses)}

    k, g = predicted[BULK].to_numpy(dtype=float), predicted[SHEAR].to_numpy(dtype=float)
    derived = derive(k, g)
    if {spread_of(BULK), spread_of(SHEAR)} <= set(predicted.columns):
        up_k, up_g = (np.exp(predicted[spread_of(name)].to_numpy(dtype=float)) for name in (BULK, SHEAR))
        ends = [(derive(k * up_k, g), derive(k / up_k, g)), (derive(k, g * up_g), derive(k, g / up_g))]
        for target in (YOUNG, DEBYE):
            with np.errstate(divide="ignore", invalid="ignore"):  # of a modulus of 0: no spread
                shares = [np.log(above[target] / below[target]) / 2 for above, below in ends]
            derived[spread_of(target)] = np.nan_to_num(np.hypot(*shares), posinf=0.0)
    return pd.DataFrame(derived, index=predicted.index)


def _stable(k_gpa: ArrayLike, g_gpa: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    return np.maximum(np.asarray(k_gpa, dtype=float), 0.0), np.maximum(np.asarray(g_gpa, dtype=float), 0.0)
