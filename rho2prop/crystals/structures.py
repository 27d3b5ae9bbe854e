"""Read crystal structures and check that they can be computed."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from pymatgen.core import DummySpecies, Element, IStructure, Structure

from rho2prop.core.errors import InputError
from rho2prop.core.file_content import bare_name, read_content
from rho2prop.core.scanner import Scanner
from rho2prop.crystals.cif_formula import check_formula, check_sites, check_symmetry, count_crystals
from rho2prop.crystals.limits import LARGEST_FRACTIONAL, SHORTEST_DISTANCE_ANG
from rho2prop.crystals.poscar import check_end, parse_poscar

SMALLEST_VOLUME_PER_ATOM_ANG3 = 1.0
ROWS = 256  # of the matrix of distances that are searched at a time
FIX_FILE = "Give a CIF, POSCAR (.vasp) or pymatgen JSON file of one ordered crystal"


class Crystal(Protocol):
    """Anything with a cell and atoms."""

    @property
    def lattice(self) -> np.ndarray:
        """Lattice vectors in Å as rows, shape (3, 3)."""

    @property
    def numbers(self) -> np.ndarray:
        """Atomic numbers, shape (n,)."""

    @property
    def frac_coords(self) -> np.ndarray:
        """Fractional coordinates, shape (n, 3)."""


def read_structure(path: Path | str) -> Structure:
    """Read and check a crystal structure; the cell is kept as it is written.

    Parameters
    ----------
    path
        CIF (``.cif``), POSCAR (``.vasp``, ``.poscar`` or a name with POSCAR or CONTCAR) or pymatgen JSON
        (``.json``), each plain or compressed (.gz, .bz2, .xz).

    Returns
    -------
    Structure
        Ordered, with neutral elements as species and without site properties.
    """
    path = Path(path)
    read = _reader(path)
    if not path.is_file():
        raise InputError(path, "there is no such structure file", "Check the path", code="missing")
    data = read_content(path)
    if not data.strip():
        raise InputError(path, "is empty", FIX_FILE, code="empty")
    try:
        structure = read(data, path)
    except InputError:
        raise
    except Exception as error:  # the parsers raise whatever a malformed line happens to trigger
        problem = f"cannot be read as a structure ({type(error).__name__}: {error})"
        raise InputError(path, problem, FIX_FILE, code="unreadable") from error
    return checked_structure(structure, path)


def _reader(path: Path) -> Callable[[bytes, Path], Structure]:
    name = bare_name(path).lower()
    if name.endswith(".cif"):
        return _parse_cif
    if name.endswith(".json"):
        return _parse_json
    if name.endswith((".vasp", ".poscar")) or "poscar" in name or "contcar" in name:
        return _parse_poscar
    raise InputError(path, "its name is not that of a known structure format", FIX_FILE, code="format")


def _text(data: bytes) -> str:
    """Text in UTF-8 or, as older programs write titles and names, Latin-1."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _parse_poscar(data: bytes, path: Path) -> Structure:
    scanner = Scanner(data, path)
    lattice, numbers, frac_coords = parse_poscar(scanner)
    check_end(scanner)
    return make_structure(lattice, numbers, frac_coords)


def _parse_cif(data: bytes, path: Path) -> Structure:
    from pymatgen.io.cif import CifParser

    text = _text(data)
    n_crystals = count_crystals(text)
    if n_crystals > 1:  # the parser keeps those that it can read
        raise InputError(
            path, f"holds {n_crystals} structures, expected one", "Give one structure per file", code="several"
        )
    parser: Any = CifParser.from_str(text)  # type checkers do not see its attribute `warnings`
    check_sites(parser.as_dict(), path)
    try:
        structure = parser.parse_structures(primitive=False, on_error="ignore")[0]
    except ValueError as error:
        reasons = " ".join(" ".join(parser.warnings).split()) or str(error)
        raise InputError(path, f"cannot be read as a structure ({reasons})", FIX_FILE, code="unreadable") from error
    check_symmetry(parser, path)
    if structure.is_ordered:
        check_formula(parser.as_dict(), structure, path)
    return structure


def _parse_json(data: bytes, path: Path) -> Structure:
    content = json.loads(_text(data))
    if isinstance(content, dict) and "sites" not in content and _holds_density(content):
        problem = "holds a charge density: densities in JSON are not read"
        raise InputError(path, problem, "Save it as CHGCAR: Chgcar.write_file('CHGCAR') in pymatgen", code="json")
    if not isinstance(content, dict) or not {"sites", "lattice"} <= set(content):
        problem = "holds no structure: expected one object with the keys lattice and sites"
        raise InputError(path, problem, "Write the structure alone: Structure.to('NAME.json') in pymatgen")
    if content.get("charge"):
        problem = f"has the charge {content['charge']}, only neutral cells are computed"
        raise InputError(path, problem, "Give the neutral crystal, with charge 0", code="charge")
    return structure_from_json(content)


def structure_from_json(content: dict) -> Structure:
    """A structure from pymatgen's dictionary of it; anything missing or of another type raises.

    Only numbers and element names are taken: pymatgen's decoder would import any module that a property names.
    """
    sites = [
        {
            "species": [{"element": str(s["element"]), "occu": float(s["occu"])} for s in site["species"]],
            "abc": [float(x) for x in site["abc"]],
        }
        for site in content["sites"]
    ]
    return Structure.from_dict({"lattice": {"matrix": content["lattice"]["matrix"]}, "sites": sites})


def _holds_density(content: dict) -> bool:
    """Whether JSON holds one of pymatgen's volumetric data, possibly inside a record of the Materials Project."""
    records = [content, *(value for value in content.values() if isinstance(value, dict))]
    return any("poscar" in record or "data_aug" in record or "total" in record for record in records)


def checked_structure(structure: IStructure, path: Path | str) -> Structure:
    """An ordered crystal of neutral atoms that do not overlap, or an InputError that names ``path``."""
    if len(structure) == 0:
        raise InputError(path, "holds no atoms", FIX_FILE)
    if not (np.isfinite(structure.lattice.matrix).all() and np.isfinite(structure.frac_coords).all()):
        raise InputError(path, "holds a lattice vector or coordinate that is not a number", FIX_FILE, code="not_finite")
    if np.abs(structure.frac_coords).max() > LARGEST_FRACTIONAL:
        largest = np.abs(structure.frac_coords).max()
        fix = "Give coordinates in units of the lattice vectors (Direct) or in Å (Cartesian)"
        raise InputError(path, f"has an atom at fractional coordinate {largest:.3g}", fix)
    if not structure.is_ordered:
        site = next(site for site in structure if not site.is_ordered)
        problem = f"has a partially occupied site ({site.species_string} at {site.frac_coords.round(4)})"
        raise InputError(path, problem, "Give an ordered structure: a density needs whole atoms", code="occupancy")
    no_elements = sorted({str(site.specie) for site in structure if isinstance(site.specie, DummySpecies)})
    if no_elements:
        raise InputError(path, f"holds {', '.join(no_elements)}, which is not an element", FIX_FILE, code="element")
    structure = make_structure(structure.lattice.matrix, structure.atomic_numbers, structure.frac_coords)
    lattice = structure.lattice
    if lattice.volume < SMALLEST_VOLUME_PER_ATOM_ANG3 * len(structure) or min(lattice.abc) < 0.5:
        problem = f"has {len(structure)} atoms in {lattice.volume:.3g} Å³ (edges {np.round(lattice.abc, 3)} Å)"
        raise InputError(path, problem, "Check the lattice vectors: they must be in Å")
    check_overlap(lattice.matrix, np.array(structure.atomic_numbers), structure.frac_coords, path)
    return structure


def check_overlap(lattice: np.ndarray, numbers: np.ndarray, coords: np.ndarray, path: Path | str) -> None:
    """Raise InputError for a cell or two atoms that are closer than ``SHORTEST_DISTANCE_ANG`` to their neighbours.

    Searched in blocks of rows, in memory that does not grow with the cell: pymatgen's list of neighbours allocates
    27 GB for a cell of 1000 Å.

    Parameters
    ----------
    lattice
        Lattice vectors in Å as rows, shape (3, 3).
    numbers, coords
        Atomic numbers, shape (n,), and fractional coordinates, shape (n, 3).
    path
        For the message.
    """
    heights_ang = 1 / np.linalg.norm(np.linalg.inv(lattice), axis=0)  # of the cell above each of its faces
    if heights_ang.min() < SHORTEST_DISTANCE_ANG:
        problem = f"has a cell that is {heights_ang.min():.3g} Å thin, at least {SHORTEST_DISTANCE_ANG} Å expected"
        raise InputError(path, problem, "Give lattice vectors in Å, of a reduced cell")
    # closer than 0.5 Å means closer than 0.5 Å / height along each axis: no other image can be
    ranges = [np.arange(-1, 2) if height < 2 * SHORTEST_DISTANCE_ANG else np.zeros(1) for height in heights_ang]
    images = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
    for start in range(0, len(coords), ROWS):
        difference = coords[start : start + ROWS, None] - coords[None]
        difference -= np.round(difference)
        for image in images:
            squares = np.sum(((difference + image) @ lattice) ** 2, axis=-1)
            if not image.any():
                squares[np.arange(len(squares)), start + np.arange(len(squares))] = np.inf  # an atom and itself
            row, second = (int(i) for i in np.unravel_index(np.argmin(squares), squares.shape))
            if squares[row, second] < SHORTEST_DISTANCE_ANG**2:
                sites = sorted((start + row, second))
                atoms = " and ".join(f"{Element.from_Z(int(numbers[i])).symbol}{i + 1}" for i in sites)
                found = f"{atoms} are {squares[row, second] ** 0.5:.3f} Å apart, at least {SHORTEST_DISTANCE_ANG} Å"
                problem = f"has overlapping atoms ({found} expected)"
                raise InputError(path, problem, "Remove the duplicate or correct the coordinates", "overlap")


def make_structure(lattice: np.ndarray, numbers: Iterable[int], frac_coords: np.ndarray) -> Structure:
    """A crystal of neutral atoms.

    Parameters
    ----------
    lattice
        Lattice vectors in Å as rows, shape (3, 3).
    numbers, frac_coords
        Atomic numbers, shape (n,), and fractional coordinates, shape (n, 3).
    """
    return Structure(lattice, [Element.from_Z(int(number)) for number in numbers], frac_coords)


def structure_from_density(density: "Crystal") -> Structure:
    """The crystal structure that a density, or whatever else knows its cell and atoms, belongs to."""
    return make_structure(density.lattice, density.numbers, density.frac_coords)
