"""The five properties: column names of the materials table, symbols and units."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """One property that is predicted.

    Parameters
    ----------
    is_positive
        Whether it cannot be negative: intervals then begin at 0 or above.
    learns_logarithm
        Whether models learn its logarithm; an energy adds up over bonds, moduli scale.
    """

    column: str
    symbol: str
    name: str
    unit: str
    is_positive: bool = True
    learns_logarithm: bool = True


SPREAD = ".spread"  # end of the column with the predictive standard deviation of a target: ``spread_of``
ATOMIZATION_ENERGY = "atomization_energy_ev_per_atom"
FORMATION_ENERGY = "formation_energy_ev_per_atom"  # no target: a column that becomes the atomization energy
TARGETS = {
    target.column: target
    for target in (
        Target("bulk_modulus_gpa", "K", "bulk modulus", "GPa"),
        Target("shear_modulus_gpa", "G", "shear modulus", "GPa"),
        Target("youngs_modulus_gpa", "E", "Young's modulus", "GPa"),
        Target("debye_temperature_k", "Θ", "Debye temperature", "K"),
        Target(ATOMIZATION_ENERGY, "E_at", "atomization energy", "eV/atom", learns_logarithm=False),
    )
}


def spread_of(target: str) -> str:
    """Name beside a target for the predictive standard deviation of its label, or of the logarithm that is learned."""
    return target + SPREAD
