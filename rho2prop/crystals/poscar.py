"""VASP's POSCAR, which also heads CHGCAR and CHG: cell, elements and positions, read strictly."""

import re
from itertools import chain

import numpy as np

from rho2prop.core.errors import InputError
from rho2prop.core.scanner import SHOWN, Scanner, fortran_float
from rho2prop.crystals.element_tables import symbols

SMALLEST_VOLUME_ANG3 = 1e-3
BYTES_PER_ATOM = 6  # "0 0 0" and the end of the line
ISOTOPES = {"D": 1, "T": 1}
ATOMIC_NUMBERS = {symbol: number for number, symbol in enumerate(symbols(), start=1)} | ISOTOPES
GLUED = re.compile(r"(?<=[\d.])-(?=\d*\.)")  # 0.25-0.50, where a field was too narrow
FLAGS = {"T", "F", ".T.", ".F.", ".TRUE.", ".FALSE."}  # of selective dynamics; T is not tritium there, F not fluorine
FIX_FRAMES = "Give one of the frames in a file of its own"
FIX_LINE = "Correct this line: see the POSCAR format"


def parse_poscar(scanner: Scanner) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read from the title to the last atom.

    Parameters
    ----------
    scanner
        At the title; afterwards behind the last atom.

    Returns
    -------
    tuple[np.ndarray, np.ndarray, np.ndarray]
        Lattice vectors in Å as rows, shape (3, 3); atomic numbers, shape (n,); fractional coordinates, shape (n, 3).

    Notes
    -----
    One scale factor, a negative one that is the volume, or three for x, y and z (VASP 6). Elements may carry the name
    and hash of their POTCAR (Mg_pv/f474ac0d); D and T are hydrogen. Without a line of elements (VASP 4) they must
    follow the positions. Any title is accepted, whatever its encoding.
    """
    if scanner.line() is None:
        raise scanner.error("is empty", "Give the whole file", code="empty")
    scales = _numbers(scanner, "the scale factor")
    vectors = np.array([_numbers(scanner, "a lattice vector", 3) for _ in range(3)])
    lattice, factors = _scaled(scanner, vectors, scales)
    symbols, counts = _elements(scanner)
    n_atoms = sum(counts)
    if n_atoms < 1:
        raise scanner.error("holds no atoms", FIX_LINE, back=1)
    if BYTES_PER_ATOM * n_atoms - 1 > scanner.n_left:
        problem = f"names {n_atoms} atoms, but only {scanner.n_left} bytes follow"
        raise scanner.error(problem, "Correct the numbers of atoms, or give the whole file", back=1)
    mode = scanner.needed_line("Direct or Cartesian").strip()
    is_selective = mode[0] in "sS"
    if is_selective:
        mode = scanner.needed_line("Direct or Cartesian").strip()
    if not mode[0].isalpha():
        problem = f"holds {mode[:SHOWN]!r}, expected Direct or Cartesian"
        raise scanner.error(problem, "Check that line 7 holds the numbers of atoms of all elements", back=1)
    positions, names = _positions(scanner, n_atoms, column=6 if is_selective else 3)
    if symbols is None:
        symbols = names
    if symbols is None:
        problem = "holds numbers of atoms where the elements' names (VASP 5) are expected"
        fix = "Add a line with the element symbols above it, in the order of the POTCAR, for example: Si O"
        raise scanner.error(problem, fix, at=_start_of_line(scanner.data, 6))
    expanded = symbols if symbols is names else chain(*([s] * n for s, n in zip(symbols, counts, strict=True)))
    if mode[0] in "cCkK":
        positions = np.linalg.solve(lattice.T, (positions * factors).T).T
    return lattice, np.array([ATOMIC_NUMBERS[symbol] for symbol in expanded]), positions


def begins_crystal(scanner: Scanner, start: int) -> bool:
    """Whether a whole POSCAR begins at a position of the text."""
    frame = Scanner(scanner.data, scanner.source)
    frame.position = start
    try:
        parse_poscar(frame)
    except InputError:
        return False
    return True


def check_end(scanner: Scanner) -> None:
    """Raise InputError if more positions follow the last atom, or another crystal; velocities may follow."""
    start = scanner.position
    words = (scanner.line() or "").split()
    if len(words) >= 3 and all(map(_is_number, words[:3])):
        problem = f"holds more positions than atoms ({' '.join(words)[:SHOWN]!r} follows the last)"
        raise scanner.error(problem, "Correct the numbers of atoms or delete the line", back=1)
    scanner.position = start
    scanner.skip_blank()
    if scanner.n_left and begins_crystal(scanner, scanner.position):
        raise scanner.error("another crystal begins here: the file holds several frames", FIX_FRAMES, code="frames")


def _numbers(scanner: Scanner, what: str, n_wanted: int | None = None) -> list[float]:
    line = scanner.needed_line(what)
    words = re.split(r"[!#]", line)[0].split()
    if n_wanted is None:  # the scale factor: as many as are numbers, the rest is a comment
        n_wanted = 3 if len(words) >= 3 and all(map(_is_number, words[:3])) else 1
    try:
        if len(words) < n_wanted:
            raise ValueError(f"{len(words)} numbers")
        return [fortran_float(word) for word in words[:n_wanted]]
    except ValueError as error:
        problem = f"expected {what}, found {line.strip()[:SHOWN]!r} ({error})"
        raise scanner.error(problem, FIX_LINE, back=1) from error


def _is_number(word: str) -> bool:
    try:
        fortran_float(word)
    except ValueError:
        return False
    return True


def _scaled(scanner: Scanner, vectors: np.ndarray, scales: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """The lattice, and the factors of Cartesian x, y and z."""
    volume = abs(np.linalg.det(vectors)) if np.isfinite(vectors).all() else 0.0
    if len(scales) == 1 and scales[0] < 0 and volume > 0:
        scales = [(-scales[0] / volume) ** (1 / 3)]
    factors = np.array(scales if len(scales) == 3 else 3 * scales)
    lattice = vectors * factors
    volume = abs(np.linalg.det(lattice)) if np.isfinite(lattice).all() else 0.0
    if not (factors > 0).all() or not SMALLEST_VOLUME_ANG3 < volume < np.inf:
        problem = f"the lattice vectors, with the scale factor {scales}, span {volume:.3g} Å³"
        raise scanner.error(problem, "Check the scale factor and the lattice vectors: they must be in Å", back=1)
    return lattice, factors


def _elements(scanner: Scanner) -> tuple[list[str] | None, list[int]]:
    """Symbols (None where there are only numbers) and numbers of atoms; both may take several lines."""
    symbols, words = [], _words(scanner, "the elements")
    while not words[0].isdigit():
        if not words[0][0].isalpha():
            problem = f"expected the elements or their numbers of atoms, found {' '.join(words)[:SHOWN]!r}"
            raise scanner.error(problem, FIX_LINE, back=1)
        symbols += words
        words = _words(scanner, "the numbers of atoms")
    counts = words
    while symbols and len(counts) < len(symbols):
        counts = counts + _words(scanner, "the numbers of atoms")
    if not all(word.isascii() and word.isdigit() and len(word) < 12 for word in counts):
        raise scanner.error(f"expected numbers of atoms, found {' '.join(counts)[:SHOWN]!r}", FIX_LINE, back=1)
    if not symbols:
        return None, [int(word) for word in counts]
    if len(symbols) != len(counts):
        problem = f"has {len(counts)} numbers of atoms for {len(symbols)} elements ({' '.join(symbols)[:SHOWN]})"
        raise scanner.error(problem, FIX_LINE, back=1)
    cleaned = [symbol.split("/")[0].split("_")[0] for symbol in symbols]
    cleaned = [symbol[:1].upper() + symbol[1:].lower() for symbol in cleaned]
    for symbol in cleaned:
        if symbol not in ATOMIC_NUMBERS:
            problem = f"{symbol[:SHOWN]!r} is not an element"
            raise scanner.error(
                problem, "Write the elements' symbols on line 6", at=_start_of_line(scanner.data, 6), code="element"
            )
    return cleaned, [int(word) for word in counts]


def _words(scanner: Scanner, what: str) -> list[str]:
    line = scanner.needed_line(what)
    words = re.split(r"[!#]", line)[0].split()
    if not words:
        raise scanner.error(f"expected {what}, found {line.strip()[:SHOWN]!r}", FIX_LINE, back=1)
    return words


def _positions(scanner: Scanner, n_atoms: int, column: int) -> tuple[np.ndarray, list[str] | None]:
    """Positions, shape (n_atoms, 3), and the elements behind them where every line has one in ``column``."""
    positions, names = [], []
    for number in range(1, n_atoms + 1):
        line = scanner.needed_line(f"the position of atom {number} of {n_atoms}")
        words = line.split()
        if len(words) < 3 or not all(map(_is_number, words[:3])):
            words = GLUED.sub(" -", line).split()
        try:
            if len(words) < 3:
                raise ValueError(f"{len(words)} numbers")
            positions.append([fortran_float(word) for word in words[:3]])
        except ValueError as error:
            problem = f"expected the position of atom {number} of {n_atoms}, found {line.strip()[:SHOWN]!r} ({error})"
            raise scanner.error(problem, FIX_LINE, back=1) from error
        has_flags = column == 3 and len(words) >= 6 and {word.upper() for word in words[3:6]} <= FLAGS
        names.append(words[column] if len(words) > column and not has_flags else "")
    return np.array(positions), names if all(name in ATOMIC_NUMBERS for name in names) else None


def _start_of_line(data: bytes, number: int) -> int:
    position = 0
    for _ in range(number - 1):
        position = data.find(b"\n", position) + 1
    return position
