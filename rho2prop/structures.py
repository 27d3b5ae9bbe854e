"""Reading crystal structures and checking that they can be computed."""

import io
import json
from pathlib import Path

import numpy as np
from pymatgen.core import DummySpecies, Structure

from .density import Density
from .errors import InputError

SHORTEST_DISTANCE_ANG = 0.5
SMALLEST_VOLUME_PER_ATOM_ANG3 = 1.0
MEND_FILE = "Give a CIF, POSCAR (.vasp) or pymatgen JSON file of one ordered crystal"


def read_structure(path: Path | str) -> Structure:
    """Read and check a crystal structure; the cell is kept as it is written.

    Parameters
    ----------
    path
        CIF (``.cif``), POSCAR (``.vasp``, ``.poscar`` or a name with POSCAR or CONTCAR) or pymatgen JSON
        (``.json``).

    Returns
    -------
    Structure
        Ordered, with neutral elements as species and without site properties.
    """
    path = Path(path)
    read = _reader(path)
    if not path.is_file():
        raise InputError(path, "there is no such structure file", "Check the path")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, f"cannot be read as text ({error})", MEND_FILE) from error
    if not text.strip():
        raise InputError(path, "is empty", MEND_FILE)
    try:
        structure = read(text)
    except Exception as error:  # the parsers raise whatever a malformed line happens to trigger
        problem = f"cannot be read as a structure ({type(error).__name__}: {error})"
        raise InputError(path, problem, MEND_FILE) from error
    return checked_structure(structure, path)


def _reader(path: Path):
    name = path.name.lower()
    if name.endswith(".cif"):
        return _parse_cif
    if name.endswith(".json"):
        return _parse_json
    if name.endswith((".vasp", ".poscar")) or "poscar" in name or "contcar" in name:
        return _parse_poscar
    raise InputError(path, "its name tells no known structure format", MEND_FILE)


def _parse_poscar(text: str) -> Structure:
    from ase.io.vasp import read_vasp  # pymatgen's reader takes 1.5 s to import, in each of thousands of jobs

    if text.splitlines()[5].split()[0].isdigit():  # ASE would look for them in other files
        raise ValueError("line 6 holds numbers of atoms, expected the elements' names (VASP 5)")
    atoms = read_vasp(io.StringIO(text))
    if atoms.cell.volume < SMALLEST_VOLUME_PER_ATOM_ANG3 * len(atoms):
        raise ValueError(f"{len(atoms)} atoms in {atoms.cell.volume:.3g} Å³")
    return Structure(atoms.cell.array, atoms.get_chemical_symbols(), atoms.get_scaled_positions(wrap=False))


def _parse_cif(text: str) -> Structure:
    from pymatgen.io.cif import CifParser

    structures = CifParser.from_str(text).parse_structures(primitive=False)
    if len(structures) != 1:
        raise ValueError(f"holds {len(structures)} structures, expected one")
    return structures[0]


def _parse_json(text: str) -> Structure:
    # Only numbers and element names are taken: pymatgen's decoder would import any module the file names.
    content = json.loads(text)
    sites = [
        {
            "species": [{"element": str(s["element"]), "occu": float(s["occu"])} for s in site["species"]],
            "abc": [float(x) for x in site["abc"]],
        }
        for site in content["sites"]
    ]
    return Structure.from_dict({"lattice": {"matrix": content["lattice"]["matrix"]}, "sites": sites})


def checked_structure(structure: Structure, path: Path) -> Structure:
    """An ordered crystal of neutral atoms that do not overlap, or an InputError that names ``path``."""
    if len(structure) == 0:
        raise InputError(path, "holds no atoms", MEND_FILE)
    if not (np.isfinite(structure.lattice.matrix).all() and np.isfinite(structure.frac_coords).all()):
        raise InputError(path, "holds a lattice vector or coordinate that is not a number", MEND_FILE)
    if not structure.is_ordered:
        site = next(site for site in structure if not site.is_ordered)
        problem = f"has a partially occupied site ({site.species_string} at {site.frac_coords.round(4)})"
        raise InputError(path, problem, "Give an ordered structure: a density needs whole atoms")
    no_elements = sorted({str(site.specie) for site in structure if isinstance(site.specie, DummySpecies)})
    if no_elements:
        raise InputError(path, f"holds {', '.join(no_elements)}, which is no element", MEND_FILE)
    structure = Structure(structure.lattice, structure.atomic_numbers, structure.frac_coords)
    lattice = structure.lattice
    if lattice.volume < SMALLEST_VOLUME_PER_ATOM_ANG3 * len(structure) or min(lattice.abc) < 0.5:
        problem = f"has {len(structure)} atoms in {lattice.volume:.3g} Å³ (edges {np.round(lattice.abc, 3)} Å)"
        raise InputError(path, problem, "Check the lattice vectors: they must be in Å")
    centres, neighbours, _, distances = structure.get_neighbor_list(SHORTEST_DISTANCE_ANG)
    if len(distances):
        i = int(np.argmin(distances))
        atoms = f"{structure[centres[i]].specie}{centres[i] + 1} and "
        atoms += f"{structure[neighbours[i]].specie}{neighbours[i] + 1}"
        problem = f"has overlapping atoms ({atoms} are {distances[i]:.3f} Å apart, at least 0.5 Å expected)"
        raise InputError(path, problem, "Remove the duplicate or correct the coordinates")
    return structure


def structure_from_density(density: Density) -> Structure:
    """The crystal structure that ``density`` belongs to."""
    return Structure(density.lattice, [int(number) for number in density.numbers], density.frac_coords)
