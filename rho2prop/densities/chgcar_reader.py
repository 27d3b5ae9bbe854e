"""VASP's CHGCAR family, read strictly: each block ends where its line ends, and what follows is of a known kind."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rho2prop.core.errors import InputError
from rho2prop.core.file_content import FIX_CUT, read_content
from rho2prop.core.scanner import NUMBER, SHOWN, Scanner
from rho2prop.crystals.poscar import FIX_FRAMES, begins_crystal, parse_poscar

GRID_LINE = re.compile(r"\s*(\d{1,6})\s+(\d{1,6})\s+(\d{1,6})\s*")
# "augmentation occupancies   1  33" in format 2I4, which glues numbers of four digits and prints stars for five
AUGMENTATION = re.compile(r"\s*augmentation occupancies( \(imaginary part\))?\s*(?:\d{1,4}|\*{4}|\d+\s)\s*(\d{1,4})\s*")
LARGEST_POLARISATION = 0.95  # of the electrons; a second block beyond it is not the spin density of a crystal
FIX_WHICH = "Give a file with one density (and its spin density): it is unclear which of these grids is meant"
FEWEST_POLARISED = 8  # electrons below which a crystal's could all be of one spin


@dataclass(frozen=True)
class Chgcar:
    """Content of a file of the CHGCAR family.

    Parameters
    ----------
    lattice
        Lattice vectors in Å as rows, shape (3, 3).
    numbers
        Atomic numbers, shape (n,).
    frac_coords
        Fractional coordinates, shape (n, 3).
    total
        Density times volume of the cell, in electrons, shape (nx, ny, nz), periodic.
    n_grids
        Blocks in the file: 1, 2 (total and spin) or 4 (total and the components of the spin).
    """

    lattice: np.ndarray
    numbers: np.ndarray
    frac_coords: np.ndarray
    total: np.ndarray
    n_grids: int


def read_chgcar(path: Path) -> Chgcar:
    """Read CHGCAR, CHG or an AECCAR, plain or compressed.

    Raises
    ------
    InputError
        The file is cut or damaged, holds several frames, or more grids than one calculation writes.
    """
    scanner = Scanner(read_content(path), path)
    lattice, numbers, frac_coords = parse_poscar(scanner)
    scanner.skip_blank()
    match = GRID_LINE.fullmatch(line := scanner.needed_line("the size of the grid"))
    if not match or min(map(int, match.groups())) < 1:
        problem = f"holds {line.strip()[:SHOWN]!r}, expected the three sizes of the grid"
        raise scanner.error(problem, "Give a whole CHGCAR; numbers of atoms and positions must agree", back=1)
    nx, ny, nz = (int(n) for n in match.groups())
    shape = (nx, ny, nz)
    total, integrals = np.empty(0), list[float]()
    while not integrals or _next_grid(scanner, shape, len(numbers)):
        if len(integrals) == 4:
            raise scanner.error("holds more than four grids", FIX_WHICH, back=1, code="several")
        values = scanner.values(shape[0] * shape[1] * shape[2], f"grid {len(integrals) + 1}")
        total = total if integrals else values  # the others are read to check that they are complete
        integrals.append(float(values.mean()))
        _skip_augmentation(scanner, len(numbers))
    _check_spin(path, integrals)
    return Chgcar(lattice, numbers, frac_coords, total.reshape(shape, order="F"), len(integrals))


def _skip_augmentation(scanner: Scanner, n_atoms: int) -> None:
    """Skip the augmentation occupancies, which either all atoms have or none."""
    counts = {False: 0, True: 0}  # real, imaginary
    while scanner.n_left:
        scanner.skip_blank()
        start = scanner.position
        match = AUGMENTATION.fullmatch(line := scanner.line() or "")
        if not match:
            if "augmentation" in line:
                problem = f"holds {line.strip()[:60]!r}, expected the numbers of an atom and of its occupancies"
                raise scanner.error(problem, FIX_CUT, start)
            scanner.position = start
            break
        if int(match[2]):
            scanner.values(int(match[2]), "augmentation occupancies")
        counts[match[1] is not None] += 1
    for count in counts.values():
        if count not in (0, n_atoms):
            raise scanner.error(f"has the augmentation occupancies of {count} atoms, expected {n_atoms}", FIX_CUT)


def _next_grid(scanner: Scanner, shape: tuple[int, int, int], n_atoms: int) -> bool:
    """Go behind the line of another grid's size; False at the end of the file."""
    scanner.skip_blank()
    start = scanner.position
    moments: list[str] = []
    while (line := scanner.line()) is not None:
        words = line.split()
        match = GRID_LINE.fullmatch(line)
        if match and len(moments) in (0, n_atoms, 3 * n_atoms):
            if tuple(int(n) for n in match.groups()) != shape:
                problem = (
                    f"holds a grid of {' × '.join(match.groups())} points after one of {' × '.join(map(str, shape))}"
                )
                raise scanner.error(problem, FIX_WHICH, back=1)
            return True
        if not all("." in word and NUMBER.fullmatch(word) for word in words) or len(moments) > 3 * n_atoms:
            break
        moments += words
    if not moments and line is None:
        return False
    if begins_crystal(scanner, start):
        raise scanner.error(
            "another crystal begins here: the file holds several frames", FIX_FRAMES, start, code="frames"
        )
    first = scanner.data[start : start + SHOWN].decode("utf-8", "replace").splitlines()[0].strip()
    if moments:
        problem = f"{len(moments)} numbers follow a block, expected the moments of {n_atoms} atoms and then a grid"
        raise scanner.error(problem, f"A line is missing or too many: {FIX_CUT}", start)
    problem = f"a block is followed by {first!r}, expected augmentation occupancies, another grid or the end"
    raise scanner.error(problem, FIX_CUT, start)


def _check_spin(path: Path, integrals: list[float]) -> None:
    """Refuse several totals one after the other, which look like a total and its spin."""
    if len(integrals) == 3:
        raise InputError(
            path, "holds three grids, expected a density, or density and spin (2 or 4 grids)", FIX_WHICH, code="several"
        )
    n_electrons, moment = integrals[0], float(np.linalg.norm(integrals[1:]))
    largest = LARGEST_POLARISATION if n_electrons >= FEWEST_POLARISED else 1.001
    if len(integrals) > 1 and n_electrons > 0 and moment > largest * n_electrons:
        problem = (
            f"holds {len(integrals)} grids, and those after the first integrate to {moment:.4g} of the first's "
            f"{n_electrons:.4g} electrons: they are not a spin density"
        )
        raise InputError(path, problem, FIX_WHICH, code="several")
