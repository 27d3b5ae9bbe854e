"""Collect DFT folders into the tables that the rest of the workflow reads."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from rho2prop.core.errors import InputError
from rho2prop.core.tables import write_table
from rho2prop.core.targets import FORMATION_ENERGY, TARGETS
from rho2prop.crystals.structures import structure_from_density
from rho2prop.crystals.symmetry import symmetry
from rho2prop.densities.density import Density, read_npz
from rho2prop.dft.engine_versions import require_one_engine
from rho2prop.dft.formation_energy import formation_energy_ev_per_atom, read_atoms, require_one_zero
from rho2prop.dft.outcome import collect, require_fraction

DENSITY_FILE = "density.npz"
TEXT_COLUMNS = (
    "material_id", "role", "formula", "chemical_system", "structure", "density_kind", "density_engine"
)  # fmt: skip


def material_row(material_id: str, density: Density, structure_path: str, labels: Mapping[str, float | None]) -> dict:
    """One line of results/materials.csv; labels that are unknown stay blank."""
    structure = structure_from_density(density)
    composition, group = structure.composition, symmetry(structure)
    return {
        "material_id": material_id,
        "role": "train" if labels else "predict",
        "formula": composition.reduced_formula,
        "chemical_system": composition.chemical_system,
        "crystal_system": group.crystal_system,
        "space_group_number": group.space_group_number,
        "n_sites": len(structure),
        "volume_per_atom_ang3": structure.volume / len(structure),
        "structure": structure_path,
        "density_kind": density.kind,
        "density_engine": density.engine,
        **{column: labels.get(column) for column in TARGETS},
    }


def collect_materials(
    labels: dict[str, dict[str, float]],
    structures: dict[str, str],
    min_converged_fraction: float,
    atoms: list[str] | None,
    materials_path: Path | str,
    outcomes_path: Path | str,
    atoms_path: Path | str,
    dft_folder: Path | str = "results/dft",
) -> None:
    """Write the tables of all outcomes, of the converged materials and of the free atoms.

    Parameters
    ----------
    labels
        Material id to its known targets.
    structures
        Material id to the path of its structure file.
    min_converged_fraction
        Stop if a smaller share of the materials converged.
    atoms
        Folders of the free atoms (``dft.formation_energy: computed``): the computed formation energy is then the
        label of every material, since two sources in one column would not mean the same. None: labels stay.
    """
    outcomes = collect({name: Path(dft_folder) / name for name in labels})
    atom_outcomes, atoms_ev = read_atoms(atoms or [])
    write_table(atom_outcomes, atoms_path)
    if atoms is not None:
        require_one_zero(outcomes, atom_outcomes)
    converged = list(outcomes.loc[outcomes["status"] == "converged", "material_id"])
    energies_ev, grids, n_electrons = (
        outcomes.set_index("material_id")[column] for column in ("energy_ev", "grid", "n_electrons")
    )
    formation, rows = {}, []
    for name in tqdm(converged, desc="densities", unit="material"):
        density = load(name, dft_folder)
        _require_own_density(name, density, grids[name], n_electrons[name])
        known: dict[str, float | None] = dict(labels[name])
        if atoms is not None:
            structure = structure_from_density(density)
            formation[name] = formation_energy_ev_per_atom(energies_ev[name], structure, atoms_ev)
            known[FORMATION_ENERGY] = formation[name]
        rows.append(material_row(name, density, structures[name], known))
    outcomes[FORMATION_ENERGY] = outcomes["material_id"].map(formation).astype(float)
    write_table(outcomes, outcomes_path)
    require_fraction(outcomes, min_converged_fraction)
    materials = pd.DataFrame(rows)
    require_one_kind(materials)
    write_table(materials, materials_path)


def _require_own_density(material_id: str, density: Density, grid: str, n_electrons: float) -> None:
    """Raise InputError for a density that does not match the outcome beside it."""
    found = "x".join(map(str, density.values.shape))
    expected = f"{grid} and {n_electrons:g}"
    if found != grid or not np.isclose(density.n_electrons, n_electrons, rtol=1e-6):
        raise InputError(
            f"density of {material_id}",
            f"has the grid {found} and {density.n_electrons:g} electrons, its outcome states {expected}",
            f"Delete the folder {material_id} and let the workflow compute it again",
        )


def read_materials(path: Path | str) -> pd.DataFrame:
    """Read results/materials.csv; ids stay strings ("1e5" and "NaN" are possible ids)."""
    text = dict.fromkeys(TEXT_COLUMNS, str)
    blanks = {column: [""] for column in TARGETS}
    return pd.read_csv(path, dtype=text, keep_default_na=False, na_values=blanks, float_precision="round_trip")


def density_paths(materials: pd.DataFrame, dft_folder: Path | str = "results/dft") -> list[tuple[str, Path]]:
    """Material ids and density files of the converged materials."""
    return [(name, Path(dft_folder) / name / DENSITY_FILE) for name in materials["material_id"]]


def require_one_kind(materials: pd.DataFrame) -> None:
    """Raise InputError if a table of materials mixes kinds or engines of densities.

    Patch levels of one release of a program are one engine (``rho2prop.dft.engine_versions``).

    Raises
    ------
    InputError
        Naming the first material that differs.
    """
    fix = "Use densities of one kind and one engine for training and prediction"
    names, kinds = list(materials["material_id"]), list(materials["density_kind"])
    for name, kind in zip(names, kinds, strict=True):
        if kind != kinds[0]:
            raise InputError(f"density of {name}", f"is of kind {kind!r}, that of {names[0]} of {kinds[0]!r}", fix)
    require_one_engine(dict(zip(names, materials["density_engine"], strict=True)), "density", fix)


def load(material_id: str, dft_folder: Path | str = "results/dft") -> Density:
    """The density of a converged material."""
    return read_npz(Path(dft_folder) / material_id / DENSITY_FILE)
