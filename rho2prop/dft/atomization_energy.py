"""Atomization energy: from a crystal to free atoms, of energies of one engine or of a formation energy."""

import math
import re
from pathlib import Path

import pandas as pd
from pymatgen.core import Composition, Structure
from tqdm import tqdm

from rho2prop.core.errors import InputError
from rho2prop.crystals import element_tables
from rho2prop.crystals.structures import read_structure
from rho2prop.dft.engine_versions import require_one_engine
from rho2prop.dft.failures import job_failure
from rho2prop.dft.outcome import collect


def atomization_energy_ev_per_atom(energy_ev: float, structure: Structure, atoms_ev: dict[str, float]) -> float | None:
    """(Σ E_atom − E_crystal) / n: positive for a bound crystal; of an element it is the cohesive energy.

    Parameters
    ----------
    energy_ev
        Energy of the cell in eV.
    structure
        The cell.
    atoms_ev
        Energy of each free atom in eV, by symbol; converged ones only.

    Returns
    -------
    float or None
        eV per atom; None where one of the atoms is not there.
    """
    symbols = [site.specie.symbol for site in structure]
    if not set(symbols) <= set(atoms_ev):
        return None
    return (sum(atoms_ev[symbol] for symbol in symbols) - energy_ev) / len(symbols)


def from_formation_energy(value: float, composition: Composition, cohesive_ev: dict[str, float]) -> float | None:
    """Atomization energy in eV per atom from a formation energy relative to the elements: Σ x_i E_coh,i − value.

    Parameters
    ----------
    value
        Formation energy in eV per atom.
    composition
        Of the crystal.
    cohesive_ev
        Cohesive energy of each element in eV per atom, by symbol.

    Returns
    -------
    float or None
        None where the cohesive energy of one of the elements is not known.
    """
    if any(element.symbol not in cohesive_ev for element in composition.elements):
        return None
    total = sum(cohesive_ev[element.symbol] * count for element, count in composition.items())
    return total / composition.num_atoms - value


def read_atoms(folders: list[str]) -> tuple[pd.DataFrame, dict[str, float]]:
    """Outcomes of the free atoms, and the energies in eV of the converged ones by symbol.

    Raises
    ------
    InputError
        The atoms come from different engines or versions: their energies have no common zero.
    """
    outcomes = collect({Path(folder).name: folder for folder in folders}, needs_density=False)
    converged = outcomes[outcomes["status"] == "converged"]
    fix = "Delete results/atoms and let the workflow compute them with one engine"
    require_one_engine(_engines(converged), "free atom", fix)
    return outcomes, dict(zip(converged["material_id"], converged["energy_ev"], strict=True))


def require_one_zero(crystals: pd.DataFrame, atoms: pd.DataFrame) -> None:
    """Raise InputError if crystals and free atoms, tables of outcomes, come from different engines or versions.

    Raises
    ------
    InputError
        Their energies have no common zero.
    """
    engines = _engines(crystals[crystals["status"] == "converged"])
    engines |= {
        f"the atom {symbol}": engine for symbol, engine in _engines(atoms[atoms["status"] == "converged"]).items()
    }
    fix = "Delete the older of results/dft and results/atoms and let the workflow compute it with one engine"
    require_one_engine(engines, "energy", fix)


def _engines(outcomes: pd.DataFrame) -> dict[str, str]:
    """Program and version of each outcome, by id; a failed one may lack its version."""
    names = [
        version if re.match(r"[A-Za-z]", version) else f"{engine} {version}"
        for engine, version in zip(outcomes["engine"], outcomes["engine_version"], strict=True)
    ]
    return dict(zip(outcomes["material_id"], names, strict=True))


def elements_of(structure_paths: list[str]) -> list[str]:
    """Symbols of all elements in these structure files, sorted; a file that cannot be read fails in its own run."""
    symbols = set()
    for path in tqdm(structure_paths, desc="structures", unit="file"):
        try:
            symbols |= {site.specie.symbol for site in read_structure(path)}
        except InputError as error:
            if failure := job_failure(error, path):
                raise failure from error
            print(f"left out: {error}")
    return sorted(symbols)


def cohesive_energies_ev() -> dict[str, float]:
    """Experimental energy in eV per atom from each element's stable phase to free atoms, by symbol.

    C. Kittel, Introduction to Solid State Physics, 8th ed. (2005), table 1 of chapter 3; for molecules half the
    dissociation energy, as there.
    """
    symbols = element_tables.symbols()
    values = element_tables.of_elements(element_tables.COHESIVE_ENERGY, range(1, len(symbols) + 1)).tolist()
    return {symbol: value for symbol, value in zip(symbols, values, strict=True) if math.isfinite(value)}
