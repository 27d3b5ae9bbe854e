"""The five properties: column names of the materials table, symbols and units."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """One property that is predicted."""

    column: str
    symbol: str
    name: str
    unit: str
    is_positive: bool = True


FORMATION_ENERGY = "formation_energy_ev_per_atom"
TARGETS = {
    target.column: target
    for target in (
        Target("bulk_modulus_gpa", "K", "bulk modulus", "GPa"),
        Target("shear_modulus_gpa", "G", "shear modulus", "GPa"),
        Target("youngs_modulus_gpa", "E", "Young's modulus", "GPa"),
        Target("debye_temperature_k", "Θ", "Debye temperature", "K"),
        Target(FORMATION_ENERGY, "E_form", "formation energy", "eV/atom", is_positive=False),
    )
}
