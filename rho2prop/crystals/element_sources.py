"""Write the frozen tables of the elements from the installed libraries.

``python -m rho2prop.crystals.element_sources``; run it only to change features on purpose: models trained with other
tables are refused then.
"""

import json
import math
import warnings
from importlib.metadata import version

from rho2prop.crystals.element_tables import N_ELEMENTS, PATH

LIBRARIES = ("matminer", "pymatgen-core")
PYMATGEN = {
    "bulk_modulus_gpa": "bulk_modulus",
    "shear_modulus_gpa": "rigidity_modulus",
    "molar_volume_cm3": "molar_volume",
    "electronegativity": "X",
    "atomic_mass_u": "atomic_mass",
}
# half the dissociation energy of H2 at 0 K (Huber & Herzberg 1979), in eV; Kittel's table begins with Li
COHESIVE_ENERGY_OF_HYDROGEN_EV = 2.239


def installed_tables() -> dict:
    """Content of the frozen file as the installed libraries would make it."""
    from matminer.featurizers.composition import ElementProperty
    from matminer.utils.data import CohesiveEnergyData
    from pymatgen.core import Element
    from pymatgen.core.local_env import CovalentRadius

    elements = [Element.from_Z(number) for number in range(1, N_ELEMENTS + 1)]
    symbols = [element.symbol for element in elements]
    featurizer = ElementProperty.from_preset("magpie", impute_nan=False)
    magpie = featurizer.data_source.get_elemental_property
    cohesive_ev = {"H": COHESIVE_ENERGY_OF_HYDROGEN_EV} | CohesiveEnergyData(impute_nan=False).cohesive_energy_data
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="No (data available|Pauling)")  # null then
        tables = {name: [_number(getattr(e, key)) for e in elements] for name, key in PYMATGEN.items()}
    tables["covalent_radius_ang"] = [_number(CovalentRadius.radius.get(symbol)) for symbol in symbols]
    tables["cohesive_energy_ev_per_atom"] = [_number(cohesive_ev.get(symbol)) for symbol in symbols]
    return {
        "versions": {name: version(name) for name in LIBRARIES},
        "symbols": symbols,
        "tables": tables,
        "magpie": {name: [_number(magpie(e, name)) for e in elements] for name in featurizer.features},
    }


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def write() -> None:
    """Write the file, one table a line."""
    content = installed_tables()
    groups = []
    for key, value in content.items():
        if isinstance(value, dict):
            inner = ",\n".join(f"  {json.dumps(name)}: {json.dumps(column)}" for name, column in value.items())
            groups.append(f" {json.dumps(key)}: {{\n{inner}\n }}")
        else:
            groups.append(f" {json.dumps(key)}: {json.dumps(value)}")
    PATH.write_text("{\n" + ",\n".join(groups) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    write()
