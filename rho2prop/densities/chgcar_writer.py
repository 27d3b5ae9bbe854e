"""Fast writer of VASP's CHGCAR: the format has fixed width, so NumPy can lay out whole blocks."""

import math
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Protocol

import numpy as np
from pymatgen.core import Element

from rho2prop.core.atomic_files import atomic
from rho2prop.core.errors import InputError
from rho2prop.core.file_content import OPENERS
from rho2prop.crystals.structures import Crystal
from rho2prop.densities.density import Density, check

VALUES_PER_LINE = 5
DIGITS = 11
FIELD = 18  # Fortran's (1X,E17.11): " 0.12345678901E+02", negative " -.12345678901E+02"
BLOCK_LINES = 4096  # about 20,000 values, so that the work arrays stay in the cache
SMALLEST, LARGEST = 1e-99, 1e99  # the exponent has two digits
_THREE_DIGITS = np.array([list(b"%03d" % number) for number in range(1000)], dtype=np.uint8)


class Described(Crystal, Protocol):
    """A crystal with the kind and the engine of its density."""

    @property
    def kind(self) -> str:
        """Kind of density."""

    @property
    def engine(self) -> str:
        """Program that computed it."""


def write_chgcar(density: Density, path: Path | str) -> None:
    """Write a density as VASP's CHGCAR, for VESTA and other viewers, atomically.

    Parameters
    ----------
    density
        Checked before anything is written. Augmentation occupancies and promolecule have no place in the file.
    path
        File to write; ``.gz``, ``.bz2`` and ``.xz`` are compressed.

    Notes
    -----
    Values are density times cell volume (VASP wiki, CHGCAR), 11 significant digits, first axis fastest, five to a
    line. Atoms keep their order, so an element may head more than one group.

    Raises
    ------
    InputError
        If the density is not sound, or too large or small a number for the format's two-digit exponent.
    """
    path = Path(path)
    check(density, path)
    with atomic(path) as temporary, OPENERS.get(path.suffix.lower(), open)(temporary, "wb") as file:
        file.write(_header(density, density.values.shape))
        file.writelines(_blocks(density.values.ravel(order="F"), density.volume_ang3, path))


def chgcar_bytes(crystal: Described, shape: tuple[int, int, int]) -> int:
    """Size of the CHGCAR that ``write_chgcar`` writes for a density of this crystal on this grid."""
    n_values = math.prod(shape)
    return len(_header(crystal, shape)) + n_values * FIELD + -(-n_values // VALUES_PER_LINE)


def _header(crystal: Described, shape: tuple[int, int, int]) -> bytes:
    groups = [(Element.from_Z(int(number)).symbol, len(list(run))) for number, run in groupby(crystal.numbers)]
    lines = [
        " ".join(f"rho2prop: {crystal.kind} density, {crystal.engine}".split()),
        "   1.00000000000000",
        *("".join(f"{x:22.16f}" for x in vector) for vector in crystal.lattice),
        "".join(f"{symbol:>5}" for symbol, _ in groups),
        "".join(f"{n_atoms:>6d}" for _, n_atoms in groups),
        "Direct",
        *("".join(f"{x:20.16f}" for x in position) for position in crystal.frac_coords),
        "",
        "".join(f"{n:5d}" if n < 10_000 else f" {n}" for n in shape),
    ]
    return ("\n".join(lines) + "\n").encode("ascii", "replace")


def _blocks(values: np.ndarray, volume_ang3: float, path: Path) -> Iterator[bytes]:
    """The lines of the grid in pieces."""
    block_size = BLOCK_LINES * VALUES_PER_LINE
    for start in range(0, values.size, block_size):
        block = values[start : start + block_size].astype(np.float64) * volume_ang3
        text = _fixed_width(block, path)
        n_whole = block.size // VALUES_PER_LINE
        lines = np.full((n_whole, VALUES_PER_LINE * FIELD + 1), ord("\n"), dtype=np.uint8)
        lines[:, :-1] = text[: n_whole * VALUES_PER_LINE].reshape(n_whole, -1)
        yield lines.tobytes()
        rest = text[n_whole * VALUES_PER_LINE :]
        if len(rest):
            yield rest.tobytes() + b"\n"


def _fixed_width(values: np.ndarray, path: Path) -> np.ndarray:
    """Characters of numbers, shape (n, FIELD), uint8."""
    size = np.abs(values)
    if size.max() >= LARGEST:
        problem = f"density times cell volume is {size.max():.3g} at its largest, CHGCAR holds less than {LARGEST:.0e}"
        raise InputError(path, problem, "Check the density: it must be in e/Å³")
    size = np.where(size < SMALLEST, 0.0, size)
    # 0.1 <= mantissa < 1 as Fortran has it; log10 and the rounding may each be off by one power of ten
    exponent = np.zeros(len(size), dtype=np.int64)
    positive = size > 0
    exponent[positive] = np.floor(np.log10(size[positive])).astype(np.int64) + 1
    digits = _rounded(size, exponent)
    off = (digits >= 10**DIGITS).astype(np.int64) - (positive & (digits < 10 ** (DIGITS - 1)))
    if off.any():
        exponent += off
        digits = _rounded(size, exponent)
    text = np.empty((len(values), FIELD), dtype=np.uint8)
    text[:, 0], text[:, 1], text[:, 2] = ord(" "), ord("0"), ord(".")
    text[values < 0, 1] = ord("-")
    low = digits
    for column in (11, 8, 5):
        high = low // 1000
        text[:, column : column + 3] = _THREE_DIGITS[low - 1000 * high]
        low = high
    text[:, 3:5] = _THREE_DIGITS[low, 1:]
    text[:, 14] = ord("E")
    text[:, 15] = np.where(exponent < 0, ord("-"), ord("+"))
    text[:, 16:18] = _THREE_DIGITS[np.abs(exponent), 1:]
    return text


def _rounded(size: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    return np.rint(size * 10.0 ** (DIGITS - exponent)).astype(np.int64)
