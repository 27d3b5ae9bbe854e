"""Documents as the Materials Project's REST interface gives them: real crystals with their published elastic moduli."""

import numpy as np
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp import Chgcar, Poscar

ROCKSALT, ZINCBLENDE, FCC = [[0, 0, 0], [0.5, 0.5, 0.5]], [[0, 0, 0], [0.25, 0.25, 0.25]], [[0, 0, 0]]
FCC_VECTORS = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
# edge of the cubic cell in Å, species and coordinates of the primitive one, K and G in GPa, atomization energy from the
# elements in eV/atom (values of the right size), valence electrons with the Materials Project's potentials
CRYSTALS = {
    "mp-22862": (5.69, ["Na", "Cl"], ROCKSALT, 24.0, 14.5, -2.11, 14),
    "mp-1265": (4.25, ["Mg", "O"], ROCKSALT, 151.0, 119.0, -3.06, 14),
    "mp-149": (5.47, ["Si", "Si"], ZINCBLENDE, 89.0, 62.0, 0.0, 8),
    "mp-66": (3.57, ["C", "C"], ZINCBLENDE, 434.0, 521.0, 0.14, 8),
    "mp-134": (4.04, ["Al"], FCC, 77.0, 26.0, 0.0, 3),
    "mp-30": (3.62, ["Cu"], FCC, 145.0, 49.0, 0.0, 11),
    "mp-23193": (6.39, ["K", "Cl"], ROCKSALT, 16.0, 8.8, -2.19, 16),
    "mp-2605": (4.84, ["Ca", "O"], ROCKSALT, 105.0, 74.0, -3.27, 14),
    "mp-1138": (4.07, ["Li", "F"], ROCKSALT, 70.0, 50.0, -3.18, 10),
    "mp-2534": (5.75, ["Ga", "As"], ZINCBLENDE, 60.0, 45.0, -0.43, 18),
}


def crystal(name: str) -> Structure:
    """Primitive cell of one of ``CRYSTALS``."""
    edge_ang, species, positions = CRYSTALS[name][:3]
    return Structure(Lattice(edge_ang * FCC_VECTORS), species, positions)


def elasticity_document(name: str, **changes) -> dict:
    """One document of materials/elasticity."""
    k_gpa, g_gpa = CRYSTALS[name][3:5]
    return {
        "material_id": name,
        "formula_pretty": crystal(name).composition.reduced_formula,
        "bulk_modulus": {"voigt": k_gpa, "reuss": k_gpa, "vrh": k_gpa},
        "shear_modulus": {"voigt": g_gpa * 1.01, "reuss": g_gpa * 0.99, "vrh": g_gpa},
        "debye_temperature": round(50 * np.sqrt(g_gpa), 3),
        "young_modulus": 1e9,
        "state": "successful",
        "warnings": [],
        **changes,
    }


def summary_document(name: str, **changes) -> dict:
    """One document of materials/summary."""
    structure = crystal(name)
    return {
        "material_id": name,
        "formula_pretty": structure.composition.reduced_formula,
        "structure": structure.as_dict(),
        "symmetry": {"number": 225, "symbol": "Fm-3m", "crystal_system": "Cubic"},
        "nsites": len(structure),
        "deprecated": False,
        "formation_energy_per_atom": CRYSTALS[name][5],
        "energy_above_hull": 0.0,
        "ordering": "NM",
        "total_magnetization": 0.0,
        "theoretical": False,
        "has_props": {"elasticity": True},
        **changes,
    }


def documents(changes: dict[str, dict] | None = None) -> tuple[list[dict], list[dict]]:
    """Elasticity and summary documents of all crystals; ``changes`` of the elasticity ones by id."""
    elasticity = [elasticity_document(name, **(changes or {}).get(name, {})) for name in CRYSTALS]
    return elasticity, [summary_document(name) for name in CRYSTALS]


def chgcar(name: str, points: int = 12, electrons: float | None = None, structure: Structure | None = None) -> Chgcar:
    """Atomic Gaussians in the crystal's primitive cell, with the electrons of the Materials Project's potentials."""
    structure = structure or crystal(name)
    if electrons is None:
        electrons = CRYSTALS[name][6] * len(structure) / len(CRYSTALS[name][1])
    axes = np.arange(points) / points
    grid = np.stack(np.meshgrid(axes, axes, axes, indexing="ij"), axis=-1).reshape(-1, 3)
    distances = structure.lattice.get_all_distances(grid, structure.frac_coords)
    values = np.exp(-(distances**2)).sum(axis=1).reshape(points, points, points) + 0.01
    values *= electrons / values.mean()  # density times volume, as VASP writes it
    return Chgcar(Poscar(structure), {"total": values})
