"""Densities of the stand-in VASP: periodic Gaussian atoms with the right number of electrons, in CHGCAR's format."""

from pathlib import Path

import numpy as np
from standins.vasp_files import Crystal

SPACING_ANG = 0.22
MOST_POINTS = 36
CORE_WIDTH_ANG = 0.18
SYMBOLS = """
    H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo
    Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl
    Pb Bi Po At Rn
"""
ATOMIC_NUMBERS = {symbol: z for z, symbol in enumerate(SYMBOLS.split(), start=1)}


def grid_shape(lattice: np.ndarray) -> tuple[int, int, int]:
    """Even numbers of points along the cell's vectors; coarser than VASP's, bounded so that boxes stay cheap."""
    lengths = np.linalg.norm(lattice, axis=1)
    return tuple(int(n) for n in 2 * np.ceil(np.minimum(lengths / SPACING_ANG, MOST_POINTS) / 2))


def gaussian_atoms(crystal: Crystal, electrons: list[float], widths_ang: list[float]) -> np.ndarray:
    """Density times volume (as CHGCAR holds it), whose mean is the sum of ``electrons``; shape (nx, ny, nz)."""
    shape = grid_shape(crystal.lattice)
    points = np.stack(np.meshgrid(*[np.arange(n) / n for n in shape], indexing="ij"), axis=-1)
    total = np.zeros(shape)
    for position, charge, width in zip(crystal.frac_coords, electrons, widths_ang, strict=True):
        if charge <= 0:
            continue
        nearest = points - position
        nearest -= np.round(nearest)
        atom = np.zeros(shape)
        for image in np.ndindex(3, 3, 3):
            distance = (nearest + np.array(image) - 1) @ crystal.lattice
            atom += np.exp(-np.einsum("...i,...i", distance, distance) / (2 * width**2))
        total += atom * (charge / atom.mean())  # exact on the grid, as VASP's charge is
    return total


def densities(crystal: Crystal, valences: list[float], moment_mub: float, converged: bool) -> dict[str, np.ndarray]:
    """Fields (times volume) by name: valence, promolecule, core, spin. Converged ones depend on the geometry alone.

    The self-consistent density is a little narrower than the superposition of the atoms, and charge
    has moved to the lighter elements; one that is not converged is half-way between the two.
    """
    numbers = [ATOMIC_NUMBERS[symbol] for symbol in crystal.symbols]
    free = [0.45 + 0.25 * (z % 7) / 7 for z in numbers]
    mean_number = sum(numbers) / len(numbers)
    pulls = [0.05 if z < mean_number else -0.05 if z > mean_number else 0.0 for z in numbers]
    excess = sum(pulls) / len(pulls)
    bound = [charge + pull - excess for charge, pull in zip(valences, pulls, strict=True)]
    valence = gaussian_atoms(crystal, bound, [(0.92 if converged else 0.96) * width for width in free])
    return {
        "valence": valence,
        "promolecule": gaussian_atoms(crystal, valences, free),
        "core": gaussian_atoms(
            crystal, [z - n for z, n in zip(numbers, valences, strict=True)], [CORE_WIDTH_ANG] * len(numbers)
        ),
        "spin": valence * (moment_mub / sum(valences)),
    }


def _numbers(values: np.ndarray) -> str:
    """Five to a line, as VASP writes them."""
    words = [f" {value:17.11E}" for value in values]
    return "".join("".join(words[i : i + 5]) + "\n" for i in range(0, len(words), 5))


def header(crystal: Crystal) -> str:
    """POSCAR as VASP repeats it in CONTCAR; all digits, so that reading it gives the same bits."""
    rows = [f"{crystal.formula}", "   1.00000000000000"]
    rows += ["".join(f" {x:22.16f}" for x in vector) for vector in crystal.lattice]
    rows.append("".join(f"   {symbol:<2}" for symbol, _ in crystal.blocks))
    rows.append("".join(f"  {count:4d}" for _, count in crystal.blocks))
    rows.append("Direct")
    rows += ["".join(f" {x:19.16f}" for x in position) for position in crystal.frac_coords]
    return "\n".join(rows) + "\n"


def chgcar_text(crystal: Crystal, fields: list[np.ndarray], augmentation: bool) -> str:
    """CHGCAR with one block (total) or two (total, spin), each with augmentation occupancies if asked for."""
    text = header(crystal)
    for number, field in enumerate(fields):
        if number > 0:  # VASP separates the blocks by the moments of the atoms
            text += _numbers(np.zeros(len(crystal.symbols)))
        else:
            text += "\n"
        text += "".join(f"{n:5d}" for n in field.shape) + "\n" + _numbers(field.ravel(order="F"))
        if augmentation:
            for atom, symbol in enumerate(crystal.symbols, start=1):
                occupancies = np.linspace(-0.1, 0.9, 8) / ATOMIC_NUMBERS[symbol] / (number + 1)
                text += f"augmentation occupancies{atom:4d}{8:4d}\n" + _numbers(occupancies)
    return text


def write(path: Path, text: str) -> None:
    """Straight to the final name, as VASP does: a kill leaves a cut file."""
    path.write_text(text)
