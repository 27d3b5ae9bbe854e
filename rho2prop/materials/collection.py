"""Collect DFT folders into the tables that the rest of the workflow reads."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from pymatgen.core import Composition
from tqdm import tqdm

from rho2prop.core.errors import InputError
from rho2prop.core.tables import write_table
from rho2prop.core.targets import ATOMIZATION_ENERGY, FORMATION_ENERGY, TARGETS
from rho2prop.crystals.structures import structure_from_density
from rho2prop.crystals.symmetry import symmetry
from rho2prop.densities.density import Density, read_npz
from rho2prop.dft.atomization_energy import (
    atomization_energy_ev_per_atom,
    cohesive_energies_ev,
    from_formation_energy,
    read_atoms,
    require_one_zero,
)
from rho2prop.dft.engine_versions import require_one_engine
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
        Material id to its known targets; a formation energy relative to the elements under ``FORMATION_ENERGY``.
    structures
        Material id to the path of its structure file.
    min_converged_fraction
        Stop if a smaller share of the materials converged.
    atoms
        Folders of the free atoms (``dft.atomization_energy: computed``): the computed atomization energy is then the
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
    cohesive_ev = cohesive_energies_ev()
    unknown: Counter[str] = Counter()
    computed, rows = {}, []
    for name in tqdm(converged, desc="densities", unit="material"):
        density = load(name, dft_folder)
        _require_own_density(name, density, grids[name], n_electrons[name])
        known: dict[str, float | None] = dict(labels[name])
        formation_ev = known.pop(FORMATION_ENERGY, None)
        if atoms is not None:
            structure = structure_from_density(density)
            computed[name] = atomization_energy_ev_per_atom(energies_ev[name], structure, atoms_ev)
            known[ATOMIZATION_ENERGY] = computed[name]
        elif formation_ev is not None:
            composition = structure_from_density(density).composition
            known[ATOMIZATION_ENERGY] = _atomization_energy(name, formation_ev, composition, cohesive_ev, unknown)
        rows.append(material_row(name, density, structures[name], known))
    if unknown:
        elements = ", ".join(f"{symbol} ({count})" for symbol, count in unknown.most_common())
        print(f"labels left blank: {ATOMIZATION_ENERGY} where no cohesive energy of an element is known: {elements}")
    outcomes[ATOMIZATION_ENERGY] = outcomes["material_id"].map(computed).astype(float)
    write_table(outcomes, outcomes_path)
    require_fraction(outcomes, min_converged_fraction)
    materials = pd.DataFrame(rows)
    require_one_kind(materials)
    write_table(materials, materials_path)


def _atomization_energy(
    material_id: str, formation_ev: float, composition: Composition, cohesive_ev: dict[str, float], unknown: Counter
) -> float | None:
    """Label from a formation energy relative to the elements; counts the elements whose cohesive energy is unknown."""
    energy_ev = from_formation_energy(formation_ev, composition, cohesive_ev)
    if energy_ev is None:
        unknown.update(element.symbol for element in composition.elements if element.symbol not in cohesive_ev)
    elif energy_ev <= 0:
        raise InputError(
            f"{FORMATION_ENERGY} of {material_id}",
            f"{formation_ev:g} relative to the elements leaves an atomization energy of {energy_ev:g}: it is not bound",
            "Correct it in the materials table, or delete the cell",
        )
    return energy_ev


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


def converged(folders: Iterable[str]) -> list[tuple[str, Path]]:
    """Material ids and density files of those DFT folders whose calculation converged."""
    paths = [(Path(folder).name, Path(folder) / DENSITY_FILE) for folder in folders]
    return [(name, path) for name, path in paths if path.is_file()]


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
