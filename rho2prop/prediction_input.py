"""Files that a user gives for prediction: densities are read, structures are computed first."""

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rho2prop.density import Density, read_npz
from rho2prop.errors import InputError

if TYPE_CHECKING:
    from rho2prop.bundle_reading import Bundle

STRUCTURE_SUFFIXES = (".cif", ".json", ".poscar")
CHARACTERS_LOOKED_AT = 1_000_000
COMPUTING = ("gpaw",)
GRID_LINE = re.compile(r"\n[ \t]*\r?\n[ \t]*\d+[ \t]+\d+[ \t]+\d+[ \t]*\r?\n")  # CHGCAR: a blank line, then the grid
NOT_VALENCE = ("aeccar0", "aeccar1")  # core charge; superposition of atoms


def read_input(path: Path | str, bundle: "Bundle", work: Path | str | None = None, threads: int = 1) -> Density:
    """The density that a file holds, or that its structure has.

    Parameters
    ----------
    path
        CHGCAR (plain or compressed), cube or ``.npz``; or a CIF, POSCAR or pymatgen JSON, whose density is computed
        with the bundle's engine and settings.
    bundle
        Tells kind, engine and settings.
    work
        Where the folder of a calculation is kept, named as the file; a temporary folder if not given.
    threads
        Cores for a calculation.

    Raises
    ------
    InputError
        If the file cannot be used, or the calculation failed.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(path, "there is no such file", "Check the path")
    if is_structure(path):
        return _compute(path, bundle, work, threads)
    if path.suffix.lower() == ".npz":
        return read_npz(path)
    if bundle.kind == "valence" and path.name.lower().startswith(NOT_VALENCE):
        problem = "is not the valence density by its name, but the models were trained on valence densities"
        raise InputError(path, problem, "Give CHGCAR, or AECCAR2 renamed to it")
    from rho2prop.volumetric import read_density

    return read_density(path, bundle.kind)


def is_structure(path: Path) -> bool:
    """Whether a file holds a structure and no density, by its name and, for VASP's formats, by its content."""
    name = path.name.lower()
    if name.endswith(STRUCTURE_SUFFIXES):
        return True
    if "chg" in name or "aeccar" in name:
        return False
    if path.is_file() and (name.endswith(".vasp") or "poscar" in name or "contcar" in name):
        with open(path, encoding="utf-8", errors="replace") as file:
            return not GRID_LINE.search(file.read(CHARACTERS_LOOKED_AT))
    return False


def _compute(path: Path, bundle: "Bundle", work: Path | str | None, threads: int) -> Density:
    from rho2prop.dft.base import run_material

    engine = bundle.engine.split()[0].lower()
    settings = bundle.manifest["config"]["dft"].get(engine)
    if engine not in COMPUTING or settings is None:  # VASP needs POTCARs, a launcher, hours: the workflow's work
        problem = f"is a structure, and the bundle's engine {bundle.engine!r} cannot compute its density here"
        raise InputError(path, problem, f"Compute the density with {engine} and give that")
    with tempfile.TemporaryDirectory(prefix="rho2prop-") as temporary:
        folder = Path(work or temporary) / path.name
        outcome = run_material(path.stem, path, None, engine, settings, folder, threads)
        if outcome.status != "converged":
            kept = f"its log is in {folder}" if work else "keep its log with --work DIR to see more"
            problem = f"its density could not be computed with {engine}: {outcome.reason}"
            raise InputError(path, problem, f"Mend the structure; {kept}")
        return read_npz(folder / "density.npz")
