"""Electron density of a crystal and its file format (.npz)."""

import math
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rho2prop.core.archive_check import array_header
from rho2prop.core.atomic_files import atomic
from rho2prop.core.errors import InputError, printable
from rho2prop.core.file_content import largest_content
from rho2prop.crystals.limits import LARGEST_FRACTIONAL

KINDS = ("valence", "promolecule", "all_electron")
REQUIRED_KEYS = ("density", "lattice", "numbers", "frac_coords", "n_electrons", "kind", "engine")
KEYS = (*REQUIRED_KEYS, "promolecule")
FORMER = {"superposition": "promolecule"}  # a key and a kind as earlier versions named them
ELECTRON_TOLERANCE = 1e-3  # of max(N, 1)
LARGEST_BYTES = 8 << 30  # of all arrays of a file


@dataclass(frozen=True)
class Density:
    """Electron density of a crystal on its engine's own grid.

    Parameters
    ----------
    values
        Electron density in e/Å³, shape (nx, ny, nz), float32 or float64, periodic. Point (0, 0, 0) lies at
        the origin, axis i runs along ``lattice[i]``.
    lattice
        Lattice vectors in Å as rows, shape (3, 3).
    numbers
        Atomic numbers, shape (n,).
    frac_coords
        Fractional coordinates of the atoms, shape (n, 3).
    n_electrons
        Number of electrons that the density integrates to.
    kind
        "valence", "promolecule" (of atomic densities) or "all_electron".
    engine
        Program and version that computed it.
    promolecule
        Superposition of atomic densities in e/Å³ on the same grid, or None.
    remarks
        Remarks of the reader for the user, one line each; predictions and outcomes repeat them, density files do not
        store them.
    """

    values: np.ndarray
    lattice: np.ndarray
    numbers: np.ndarray
    frac_coords: np.ndarray
    n_electrons: float
    kind: str
    engine: str
    promolecule: np.ndarray | None = None
    remarks: tuple[str, ...] = ()

    @property
    def volume_ang3(self) -> float:
        """Volume of the cell in Å³."""
        return float(abs(np.linalg.det(self.lattice)))

    @property
    def has_promolecule(self) -> bool:
        """Whether the promolecule is known: stored beside the density, or the density itself."""
        return self.promolecule is not None or self.kind == "promolecule"

    def integral(self) -> float:
        """Integral of the density over the cell, in electrons."""
        return self._integrate(self.values)

    def _integrate(self, values: np.ndarray) -> float:
        return float(values.mean(dtype=np.float64)) * self.volume_ang3


def check(density: Density, source: Path | str) -> None:
    """Raise InputError unless ``density`` is valid and integrates to its number of electrons."""
    remake = "Compute or export the density again"
    _check_field(density.values, "density", source)
    lattice = density.lattice
    if lattice.shape != (3, 3) or not _is_finite(lattice):
        raise InputError(source, f"lattice must be 3×3 finite numbers, found {lattice.dtype} {lattice.shape}", remake)
    if not 1e-3 <= density.volume_ang3 < np.inf:
        raise InputError(source, f"lattice spans {density.volume_ang3:.3g} Å³", remake)
    numbers, n_atoms = density.numbers, density.numbers.size
    if numbers.ndim != 1 or n_atoms == 0 or numbers.dtype.kind not in "iu":
        problem = f"numbers must be whole atomic numbers, shape (n,), found {numbers.dtype} {numbers.shape}"
        raise InputError(source, problem, remake)
    if numbers.min() < 1 or numbers.max() > 118:
        wrong = numbers.min() if numbers.min() < 1 else numbers.max()
        raise InputError(source, f"numbers holds {wrong}, expected atomic numbers 1 to 118", remake)
    if density.frac_coords.shape != (n_atoms, 3) or not _is_finite(density.frac_coords):
        problem = f"frac_coords must be finite, shape ({n_atoms}, 3), found shape {density.frac_coords.shape}"
        raise InputError(source, problem, remake)
    if np.abs(density.frac_coords).max() > LARGEST_FRACTIONAL:
        problem = f"frac_coords holds {np.abs(density.frac_coords).max():.3g}, expected coordinates in lattice vectors"
        raise InputError(source, problem, remake)
    if density.kind not in KINDS:
        fix = f"Set kind to one of {', '.join(KINDS)}"
        raise InputError(source, f"unknown kind of density {density.kind!r}", fix)
    if not np.isfinite(density.n_electrons) or density.n_electrons <= 0:
        problem = f"n_electrons is {density.n_electrons}, expected a positive number"
        raise InputError(source, problem, remake)
    _check_electrons(density.integral(), "density", density.n_electrons, source)
    if density.promolecule is not None:
        _check_field(density.promolecule, "promolecule", source)
        if density.promolecule.shape != density.values.shape:
            problem = (
                f"promolecule has grid {density.promolecule.shape}, expected {density.values.shape} as the density has"
            )
            raise InputError(source, problem, remake)
        integral = density._integrate(density.promolecule)
        _check_electrons(integral, "promolecule", density.n_electrons, source)


def _is_finite(values: np.ndarray) -> bool:
    return values.dtype.kind in "fiu" and bool(np.isfinite(values).all())


def _check_field(values: np.ndarray, name: str, source: Path | str) -> None:
    if values.ndim != 3 or values.size == 0 or values.dtype not in (np.float32, np.float64):
        problem = f"{name} must be float32 or float64 of shape (nx, ny, nz), found {values.dtype} {values.shape}"
        raise InputError(source, problem, "Store the density on its three-dimensional grid in e/Å³")
    finite = np.isfinite(values)
    if not finite.all():
        point = tuple(int(i) for i in np.argwhere(~finite)[0])
        problem = f"{name} is {values[point]} at grid point {point} ({(~finite).sum()} such points)"
        raise InputError(source, problem, "Compute the density again")


def _check_electrons(integral: float, name: str, n_electrons: float, source: Path | str) -> None:
    # "not <=" so that an integral that is not a number fails too
    if not abs(integral - n_electrons) <= ELECTRON_TOLERANCE * max(n_electrons, 1.0):
        problem = f"{name} integrates to {integral:.4f} electrons, expected {n_electrons:.4f}"
        fix = "Check that it is in e/Å³, of one whole cell, with the lattice in Å"
        raise InputError(source, problem, fix, code="electrons")


def read_npz(path: Path | str) -> Density:
    """Read and check a density in the project's own format.

    Parameters
    ----------
    path
        Compressed NumPy file with the keys ``density`` (e/Å³, (nx, ny, nz)), ``lattice`` (Å, rows),
        ``numbers``, ``frac_coords``, ``n_electrons``, ``kind``, ``engine`` and possibly ``promolecule``.

    Returns
    -------
    Density
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(path, "density file does not exist", "Check the path", code="missing")
    if not zipfile.is_zipfile(path):
        fix = "Write it again, or give a file made by numpy.savez"
        raise InputError(
            path, "is not a complete .npz file (truncated, empty or of another format)", fix, code="truncated"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            _check_sizes(archive, path)
        with np.load(path, allow_pickle=False) as archive:
            arrays = {FORMER.get(key, key): archive[key] for key in (*KEYS, *FORMER) if key in archive}
    except InputError:
        raise
    except (OSError, EOFError, ValueError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            path, f"cannot be read as .npz ({error})", "Write the density again", code="unreadable"
        ) from error
    missing = [key for key in REQUIRED_KEYS if not isinstance(arrays.get(key), np.ndarray)]
    if missing:
        fix = f"A density file needs the keys {', '.join(REQUIRED_KEYS)}"
        raise InputError(path, f"lacks {', '.join(missing)}", fix)
    for key in ("n_electrons", "kind", "engine"):
        if arrays[key].ndim != 0 or arrays[key].dtype.kind not in ("fiu" if key == "n_electrons" else "U"):
            expected = "one number" if key == "n_electrons" else "one text"
            problem = f"{key} must be {expected}, found {arrays[key].dtype} of shape {arrays[key].shape}"
            raise InputError(path, problem, "Write the density again")
    density = Density(
        values=arrays["density"],
        lattice=arrays["lattice"],
        numbers=arrays["numbers"],
        frac_coords=arrays["frac_coords"],
        n_electrons=float(arrays["n_electrons"]),
        kind=FORMER.get(str(arrays["kind"]), str(arrays["kind"])),
        engine=printable(arrays["engine"]),
        promolecule=arrays.get("promolecule"),
    )
    check(density, path)
    return density


def _check_sizes(archive: zipfile.ZipFile, path: Path) -> None:
    """Raise InputError for arrays that claim more memory than a density takes, before any is allocated."""
    members = [member for member in archive.infolist() if member.filename.removesuffix(".npy") in (*KEYS, *FORMER)]
    limit = largest_content(path.stat().st_size, LARGEST_BYTES)
    total = sum(member.file_size for member in members)
    if total > limit:
        problem = f"holds {total:,} bytes in {path.stat().st_size:,} on disk, more than any density"
        raise InputError(path, problem, "Compute or export the density again")
    for member in members:
        with archive.open(member) as file:
            shape, dtype = array_header(file)
            claimed = math.prod(shape) * dtype.itemsize
            if not dtype.hasobject and file.tell() + claimed != member.file_size:
                problem = f"{member.filename} claims {claimed:,} bytes, but holds {member.file_size - file.tell():,}"
                raise InputError(path, problem, "Compute or export the density again")


def write_npz(density: Density, path: Path | str) -> None:
    """Check ``density`` and write it atomically in the format that ``read_npz`` reads."""
    check(density, path)
    arrays: dict[str, Any] = {
        "density": density.values,
        "lattice": np.asarray(density.lattice, dtype=np.float64),
        "numbers": density.numbers,
        "frac_coords": np.asarray(density.frac_coords, dtype=np.float64),
        "n_electrons": np.float64(density.n_electrons),
        "kind": np.array(density.kind),
        "engine": np.array(density.engine),
    }
    if density.promolecule is not None:
        arrays["promolecule"] = density.promolecule
    with atomic(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)
