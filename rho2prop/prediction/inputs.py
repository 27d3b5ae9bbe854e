"""Input files for predictions: densities are read; for structures, the density is computed first."""

import gzip
import hashlib
import json
import lzma
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rho2prop import __version__
from rho2prop.core.atomic_files import check_folder, temporary_folder
from rho2prop.core.errors import InputError
from rho2prop.core.file_content import OPENERS, bare_name
from rho2prop.densities.density import Density, read_npz
from rho2prop.densities.given_density import checked_density

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from rho2prop.prediction.bundle.reader import Bundle

STRUCTURE_SUFFIXES = (".cif", ".json", ".poscar")
BYTES_LOOKED_AT = 1_000_000
COMPUTING = ("gpaw", "atoms")
SAME_ANG = 1e-6  # lattice vectors in Å, fractional coordinates
GRID_LINE = re.compile(rb"\n[ \t]*\r?\n[ \t]*\d+[ \t]+\d+[ \t]+\d+[ \t]*\r?\n")  # CHGCAR: a blank line, then the grid


def read_input(
    path: Path | str,
    bundle: "Bundle",
    work: Path | str | None = None,
    say: Callable[[str], None] = lambda message: None,
) -> Density:
    """Density in a file, or computed for its structure.

    Parameters
    ----------
    path
        CHGCAR (plain or compressed), cube or ``.npz``; or a CIF, POSCAR or pymatgen JSON, whose density is computed
        with the bundle's engine and settings.
    bundle
        Tells kind, engine and settings.
    work
        Where the folder of a calculation is kept, named by the file and a digest of structure and settings; a
        temporary folder if not given. A calculation of the same structure and settings that is there is used again.
    say
        Called with a message when a kept calculation is reused or cannot be.

    Raises
    ------
    InputError
        If the file cannot be used, or the calculation failed.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(path, "does not exist", "Check the path")
    if is_structure(path):
        return _compute(path, bundle, work, say)
    if path.suffix.lower() == ".npz":
        return checked_density(read_npz(path), path)
    from rho2prop.densities.readers import read_density

    return read_density(path, bundle.kind)


def is_structure(path: Path) -> bool:
    """Whether a file holds a structure without a density, judged by its name and, for VASP's formats, its content."""
    name = bare_name(path).lower()
    if name.endswith(STRUCTURE_SUFFIXES):
        return True
    if "chg" in name or "aeccar" in name:
        return False
    if path.is_file() and (name.endswith(".vasp") or "poscar" in name or "contcar" in name):
        return not GRID_LINE.search(_start(path))
    return False


def _start(path: Path) -> bytes:
    try:
        with OPENERS.get(path.suffix.lower(), open)(path, "rb") as file:
            start = file.read(BYTES_LOOKED_AT)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile):  # its reader says what is wrong with it
        return b""
    return start if b"\n" in start else start.replace(b"\r", b"\n")


def _compute(path: Path, bundle: "Bundle", work: Path | str | None, say: Callable[[str], None]) -> Density:
    from rho2prop.crystals.structures import read_structure
    from rho2prop.dft.base import engine_settings, load_engine, run_material

    engine = bundle.engine.split()[0].lower()
    section = bundle.manifest["config"]["dft"].get(engine)
    if engine not in COMPUTING or section is None:  # VASP needs POTCARs, a launcher, hours: the workflow's work
        problem = f"is a structure, and the bundle's engine {bundle.engine!r} cannot compute its density here"
        raise InputError(path, problem, f"Compute the density with {engine} and give that")
    structure, settings = read_structure(path), engine_settings(engine, section)
    with temporary_folder() as temporary:
        version = load_engine(engine).version(settings)
        folder = Path(work or temporary) / f"{path.name}-{_digest(structure, engine, version, section)}"
        if work:
            density = _kept(folder, structure, lambda message: say(f"{path}: {message}"))
            if density is not None:
                return density
        outcome = run_material(path.stem, path, None, engine, settings, folder)
        if outcome.status != "converged":
            kept = f"its log is in {folder}" if work else "keep its log with --work DIR to see more"
            problem = f"its density could not be computed with {engine}: {outcome.reason}"
            raise InputError(path, problem, f"Fix the structure; {kept}")
        return read_npz(folder / "density.npz")


def _digest(structure: "Structure", engine: str, version: str, section: dict) -> str:
    """Digest of everything that a calculation depends on."""
    recipe = json.dumps([engine, version, section, __version__], sort_keys=True)
    lattice, coordinates = structure.lattice.matrix.tobytes(), structure.frac_coords.tobytes()
    atoms = json.dumps(list(structure.atomic_numbers))
    return hashlib.sha256(b"".join([recipe.encode(), atoms.encode(), lattice, coordinates])).hexdigest()[:12]


def _kept(folder: Path, structure: "Structure", say: Callable[[str], None]) -> Density | None:
    """Density of an earlier calculation in this folder; None if it has to be computed."""
    from rho2prop.dft.outcome import read_outcome

    check_folder(folder)
    if not folder.exists():
        return None
    if not (folder / "outcome.json").is_file():
        raise InputError(folder, "is not the folder of a calculation and would be replaced", "Choose another --work")
    try:
        outcome = read_outcome(folder)
        if outcome.status != "converged":
            say(f"the calculation kept in {folder} failed ({outcome.reason}); it is repeated")
            return None
        density = read_npz(folder / "density.npz")
    except InputError as error:
        say(f"the calculation kept in {folder} cannot be used ({error}); it is repeated")
        return None
    atoms_agree = (
        density.numbers.tolist() == list(structure.atomic_numbers)
        and abs(density.lattice - structure.lattice.matrix).max() < SAME_ANG
        and abs(density.frac_coords - structure.frac_coords).max() < SAME_ANG
    )
    if not atoms_agree:
        say(f"the calculation kept in {folder} is of another structure; it is repeated")
        return None
    say(f"the calculation kept in {folder} has the same structure and settings and is reused")
    return density
