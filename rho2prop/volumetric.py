"""Reading charge densities that other programs wrote: VASP's CHGCAR family, Gaussian cube, our own .npz."""

import bz2
import gzip
import io
import lzma
import warnings
from pathlib import Path

import numpy as np
from ase.io.cube import read_cube
from ase.units import Bohr
from pymatgen.core import Lattice, Structure

from .density import ELECTRON_TOLERANCE, KINDS, Density, check, read_npz
from .errors import InputError
from .structures import checked_structure, structure_from_density

OPENERS = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
LATTICE_TOLERANCE = 1e-2  # relative, lengths and angles
MEND_CUT = "The file may be cut off or damaged: copy or compute it again"
MEND_FORMAT = "Give a CHGCAR, CHG or AECCAR (plain, .gz, .bz2, .xz), a .cube or a .npz file"


def read_density(path: Path | str, kind: str = "valence", structure: Structure | None = None) -> Density:
    """Read and check a density; the format is told by the file's name.

    Parameters
    ----------
    path
        CHGCAR, CHG or AECCAR* file (also ``*.chgcar``, ``*.vasp``) or Gaussian cube, each plain or compressed
        (.gz, .bz2, .xz), or ``.npz``.
    kind
        What the file holds: "valence", "superposition" or "all_electron".
    structure
        Structure that the density must belong to: same formula, number of atoms and lattice (1 %).

    Returns
    -------
    Density
        In e/Å³. CHGCAR files hold density times cell volume (VASP wiki, CHGCAR), cube files e/Bohr³.
    """
    path = Path(path)
    if kind not in KINDS:
        raise InputError(path, f"unknown kind of density {kind!r}", f"Set kind to one of {', '.join(KINDS)}")
    name = path.name.lower()
    bare = Path(name).stem if Path(name).suffix in OPENERS else name
    if not path.is_file():
        raise InputError(path, "there is no such density file", "Check the path")
    if bare.endswith(".npz") and bare == name:
        density = read_npz(path)
        if density.kind != kind:
            problem = f"holds a density of kind {density.kind}, expected {kind}"
            raise InputError(path, problem, "Give a density of the kind that the configuration names")
    elif bare.endswith((".cube", ".cub")):
        density = _counted(*_read_cube(path), kind=kind, engine="cube", path=path)
    elif "chg" in bare or "aeccar" in bare or bare.endswith(".vasp"):
        density = _counted(*_read_chgcar(path), kind=kind, engine="vasp", path=path)
    else:
        raise InputError(path, "its name tells no known density format", MEND_FORMAT)
    if structure is not None:
        _check_structure(density, structure, path)
    return density


def _read_chgcar(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    from pymatgen.io.vasp.inputs import BadPoscarWarning  # slow to import: not where densities are .npz
    from pymatgen.io.vasp.outputs import Chgcar

    try:
        with warnings.catch_warnings():
            # a header without element names (VASP 4) would otherwise become H, He, Li, ...
            warnings.simplefilter("error", BadPoscarWarning)
            chgcar = Chgcar.from_file(str(path))
    except Exception as error:  # the parser raises whatever the place of the cut happens to trigger
        raise InputError(path, f"cannot be read as CHGCAR ({_name(error)})", MEND_CUT) from error
    n_atoms = len(chgcar.structure)
    n_augmentations = len(chgcar.data_aug["total"])
    if n_augmentations not in (0, n_atoms):
        problem = f"has the augmentation occupancies of {n_augmentations} atoms, expected {n_atoms}"
        raise InputError(path, problem, MEND_CUT)
    _check_last_number(path)
    structure = checked_structure(chgcar.structure, path)
    values = chgcar.data["total"] / structure.volume
    return values, structure.lattice.matrix, np.array(structure.atomic_numbers), structure.frac_coords


def _check_last_number(path: Path) -> None:
    """A cut inside the last number leaves the right count: compare its width with that of its neighbour."""
    if path.suffix.lower() in OPENERS:
        return  # a cut compressed stream has failed already
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 400))
        tail = file.read()
    numbers = tail.split()
    if not tail.endswith((b"\n", b"\r")) and len(numbers[-1].lstrip(b"-")) < len(numbers[-2].lstrip(b"-")):
        raise InputError(path, f"ends inside a number ({numbers[-1].decode(errors='replace')})", MEND_CUT)


def _read_cube(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    try:
        with _open_binary(path) as file, io.TextIOWrapper(file, encoding="utf-8") as text:
            cube = read_cube(text)
    except Exception as error:  # as above: a cut cube ends in an IndexError or ValueError of the parser
        raise InputError(path, f"cannot be read as a Gaussian cube ({_name(error)})", MEND_CUT) from error
    if len(cube["datas"]) != 1:
        raise InputError(path, f"holds {len(cube['datas'])} fields, expected one density", MEND_FORMAT)
    _check_last_number(path)
    atoms = cube["atoms"]
    if not atoms.pbc.all() or atoms.cell.rank < 3 or len(atoms) == 0:
        raise InputError(path, "does not describe a three-dimensional crystal with atoms", MEND_FORMAT)
    # The grid starts at the cube's origin: move the atoms so that the grid point (0, 0, 0) becomes ours.
    frac_coords = np.linalg.solve(atoms.cell.array.T, (atoms.positions - cube["origin"]).T).T
    return cube["data"] / Bohr**3, atoms.cell.array, atoms.numbers, frac_coords


def _open_binary(path: Path):
    return OPENERS.get(path.suffix.lower(), open)(path, "rb")


def _name(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]


def _counted(
    values: np.ndarray,
    lattice: np.ndarray,
    numbers: np.ndarray,
    frac_coords: np.ndarray,
    kind: str,
    engine: str,
    path: Path,
) -> Density:
    """A checked Density whose number of electrons is the whole number nearest to its integral."""
    integral = float(values.mean(dtype=np.float64) * abs(np.linalg.det(lattice)))
    n_electrons = round(integral) if np.isfinite(integral) else 1  # check() names the point that is not finite
    if np.isfinite(integral) and abs(integral - n_electrons) > ELECTRON_TOLERANCE * max(n_electrons, 1):
        problem = f"integrates to {integral:.4f} electrons, expected a whole number within 0.1 %"
        raise InputError(path, problem, "Check that it holds the density of one whole cell")
    if n_electrons < 1:
        problem = f"integrates to {integral:.4f} electrons, expected at least 1"
        raise InputError(path, problem, "Give the total density, not a difference or spin density")
    if kind != "all_electron" and n_electrons > numbers.sum():
        problem = f"integrates to {n_electrons} electrons, but its atoms have only {numbers.sum()}"
        raise InputError(path, problem, "Check the units and that the header belongs to this density")
    density = Density(
        values=np.ascontiguousarray(values, dtype=np.float32),
        lattice=np.array(lattice, dtype=np.float64),
        numbers=np.array(numbers, dtype=np.int64),
        frac_coords=np.array(frac_coords, dtype=np.float64),
        n_electrons=float(n_electrons),
        kind=kind,
        engine=engine,
    )
    check(density, path)
    return density


def _check_structure(density: Density, structure: Structure, path: Path) -> None:
    found = structure_from_density(density)
    mend = "Give the density that was computed for the structure in the same row"
    if len(found) != len(structure) or found.composition.reduced_formula != structure.composition.reduced_formula:
        problem = f"is the density of {found.formula}, expected {structure.formula}"
        raise InputError(path, problem, mend)
    if not _same_lattice(found.lattice, structure.lattice):
        cells = [np.round(lattice.parameters, 3).tolist() for lattice in (found.lattice, structure.lattice)]
        problem = f"has the cell {cells[0]} (Å, degrees), expected {cells[1]} as the structure has, within 1 %"
        raise InputError(path, problem, mend)


def _same_lattice(found: Lattice, expected: Lattice) -> bool:
    if np.allclose(found.parameters, expected.parameters, rtol=LATTICE_TOLERANCE, atol=0):
        return True
    # the same lattice may be written with other vectors
    return expected.find_mapping(found, ltol=LATTICE_TOLERANCE, atol=1.0) is not None
