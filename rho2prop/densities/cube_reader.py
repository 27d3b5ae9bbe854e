"""Strict reader of Gaussian cube files: one field, lengths in Bohr, one number per grid point."""

from pathlib import Path

import numpy as np
from scipy.constants import physical_constants

from rho2prop.core.errors import InputError
from rho2prop.core.file_content import FIX_CUT, read_content
from rho2prop.core.scanner import SHOWN, Scanner, fortran_float

BOHR_ANG = 1e10 * physical_constants["Bohr radius"][0]
BYTES_PER_ATOM = 10  # "1 0 0 0 0" and the end of the line
FIX_ONE = "Give a file with one density: it is unclear which of these fields is meant"


def read_cube(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Read a cube, plain or compressed.

    Returns
    -------
    tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
        Density in e/Å³, shape (nx, ny, nz), periodic; lattice vectors in Å as rows, shape (3, 3); atomic numbers,
        shape (n,); fractional coordinates, shape (n, 3), relative to the first grid point.

    Raises
    ------
    InputError
        The file is cut or damaged, in Å, or holds several fields.
    """
    scanner = Scanner(read_content(path), path)
    scanner.line()  # two lines of comment
    comment = scanner.line() or ""
    words, values = _row(scanner, "the number of atoms and the origin", 4)
    n_atoms, origin = _integer(scanner, words[0]), values[1:4]
    n_fields = _integer(scanner, words[4]) if len(words) > 4 else 1
    shape, steps = _grid(scanner)
    has_labels, n_atoms = n_atoms < 0, abs(n_atoms)
    if n_atoms == 0:
        raise scanner.error("describes no crystal: it holds no atoms", "Write the atoms into the cube")
    if BYTES_PER_ATOM * n_atoms > scanner.n_left:
        problem = f"names {n_atoms} atoms, but only {scanner.n_left} bytes follow"
        raise scanner.error(problem, FIX_CUT)
    numbers, positions = [], []
    for number in range(1, n_atoms + 1):
        words, values = _row(scanner, f"atom {number} of {n_atoms}", 5)
        numbers.append(_integer(scanner, words[0]))
        positions.append(values[2:5])
    if has_labels:
        n_fields *= _n_labels(scanner)
    if n_fields != 1:
        raise scanner.error(f"holds {n_fields} fields, expected one density", FIX_ONE)
    values = scanner.values(shape[0] * shape[1] * shape[2], f"the grid of {' × '.join(map(str, shape))} points")
    scanner.skip_blank()
    if scanner.n_left:
        problem = f"more numbers follow than its {' × '.join(map(str, shape))} points take"
        raise scanner.error(problem, f"{FIX_ONE}, or the file is damaged")
    values = _ordered(values.reshape(shape), comment)
    n_steps = np.array(shape)[:, None]
    if "castep2cube" in comment:  # there the last plane along each axis repeats the first
        values, n_steps = values[:-1, :-1, :-1], n_steps - 1
    lattice = BOHR_ANG * steps * n_steps
    volume = abs(np.linalg.det(lattice)) if np.isfinite(lattice).all() else 0.0
    if not 1e-3 < volume < np.inf:
        fix = "Give the cube of a crystal: its voxel vectors must span the cell"
        raise InputError(path, f"does not describe a three-dimensional crystal (its cell has {volume:.3g} Å³)", fix)
    frac_coords = np.linalg.solve(lattice.T, (BOHR_ANG * (np.array(positions) - origin)).T).T
    return values / BOHR_ANG**3, lattice, np.array(numbers), frac_coords


def _row(scanner: Scanner, what: str, n_words: int) -> tuple[list[str], np.ndarray]:
    """Words of the next line, and their values."""
    words = scanner.needed_line(what).split()
    try:
        if len(words) < n_words:
            raise ValueError(f"{len(words)} numbers")
        return words, np.array([fortran_float(word) for word in words])
    except ValueError as error:
        problem = f"expected {what} ({n_words} numbers), found {' '.join(words)[:SHOWN]!r} ({error})"
        raise scanner.error(problem, "Give a Gaussian cube", back=1) from error


def _integer(scanner: Scanner, word: str) -> int:
    value = fortran_float(word)
    if not np.isfinite(value) or value != round(value) or abs(value) > 1e9:
        raise scanner.error(f"expected a whole number, found {word[:SHOWN]!r}", "Give a Gaussian cube", back=1)
    return int(value)


def _grid(scanner: Scanner) -> tuple[tuple[int, int, int], np.ndarray]:
    """Numbers of points and voxel vectors in Bohr, shape (3, 3)."""
    counts, steps = [], []
    for _ in range(3):
        words, numbers = _row(scanner, "the points along an axis and the voxel vector", 4)
        counts.append(_integer(scanner, words[0]))
        steps.append(numbers[1:4])
    if min(counts) < 0:
        problem = f"has negative numbers of points ({', '.join(map(str, counts))}), which say that its lengths are in Å"
        fix = (
            "The unit of its density is then not defined: write the cube in Bohr and e/Bohr³ "
            "(lengths / 0.529177, numbers of points positive)"
        )
        raise scanner.error(problem, fix, back=1, code="bohr")
    if 0 in counts:
        raise scanner.error("has a grid without points", "Give a Gaussian cube", back=1)
    nx, ny, nz = counts
    return (nx, ny, nz), np.array(steps)


def _n_labels(scanner: Scanner) -> int:
    """Number of orbitals; their labels are skipped."""
    words, _ = _row(scanner, "the number of orbitals", 1)
    n_labels = _integer(scanner, words[0])
    if n_labels != 1:
        raise scanner.error(f"holds {n_labels} orbitals, expected one density", FIX_ONE, back=1)
    if len(words) < 2:
        _row(scanner, "the label of the orbital", 1)
    return n_labels


def _ordered(values: np.ndarray, comment: str) -> np.ndarray:
    """Values with the axes x, y, z, where the comment names other loops."""
    if "OUTER LOOP" not in comment.upper():
        return values
    axes = [word[0] for word in comment.upper().split()[2::3]]
    if sorted(axes) != ["X", "Y", "Z"]:
        return values
    return values.transpose(["XYZ".index(axis) for axis in axes])
