"""CHGCAR and cube files of a small crystal, written as VASP and other programs write them."""

import numpy as np
from ase.units import Bohr

LATTICE_ANG = 5.5 * np.array([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])
COORDS = np.array([[0.875, 0.875, 0.875], [0.125, 0.125, 0.125]])
VOLUME_ANG3 = 41.59375


def crystal_density(electrons: float = 8.0, shape=(6, 5, 7), coords=COORDS) -> np.ndarray:
    """Gaussian atoms in e/Å³, shape (nx, ny, nz), different in each direction; the integral is exact on the grid."""
    points = np.stack(np.meshgrid(*[np.arange(n) / n for n in shape], indexing="ij"), axis=-1)
    values = np.full(shape, 0.01)
    for weight, centre in zip((1.0, 1.3), coords, strict=False):
        offset = points - centre - np.round(points - centre)
        values += weight * np.exp(-4 * np.sum((offset @ LATTICE_ANG) ** 2, axis=-1) / 5.5)
    return values * electrons / (values.mean() * VOLUME_ANG3)


def header(
    title: str = "unknown system",
    scale: str = "   1.00000000000000",
    lattice=LATTICE_ANG,
    elements: str = "   Si\n     2\n",
    mode: str = "Direct\n",
    positions=COORDS,
) -> str:
    """From the title to the last atom; an empty line follows in a CHGCAR."""
    vectors = "".join("".join(f"{x:13.6f}" for x in vector) + "\n" for vector in lattice)
    atoms = "".join("".join(f"{x:10.6f}" for x in position) + "\n" for position in positions)
    return f"{title}\n{scale}\n{vectors}{elements}{mode}{atoms}"


def word(value: float, digits: int = 11) -> str:
    """A number in Fortran's E17.11: 0.12345678901E+02, -.12345678901E+02; no E before three digits of exponent."""
    if value == 0:
        return f"0.{'0' * digits}E+00"
    exponent = int(np.floor(np.log10(abs(value)))) + 1
    mantissa = f"{abs(value) / 10.0**exponent:.{digits}f}"
    if mantissa.startswith("1"):
        mantissa, exponent = f"0.1{'0' * (digits - 1)}", exponent + 1
    power = f"E{exponent:+03d}" if abs(exponent) < 100 else f"{exponent:+04d}"
    return ("-" if value < 0 else "0") + mantissa[1:] + power


def block(values: np.ndarray, per_line: int = 5, digits: int = 11) -> str:
    """Numbers in lines; the first axis fastest."""
    words = [f" {word(value, digits)}" for value in np.ravel(values, order="F")]
    return "".join("".join(words[i : i + per_line]) + "\n" for i in range(0, len(words), per_line))


def grid_line(shape) -> str:
    """Sizes of the grid in format 3I5."""
    return "".join(f"{n:5d}" for n in shape) + "\n"


def augmentation(n_atoms: int = 2, first: int = 1, imaginary: bool = False) -> str:
    """Occupancies of all atoms; numbers in format I4, which glues four digits to the words before."""
    label = "augmentation occupancies" + (" (imaginary part)" if imaginary else "")
    values = np.linspace(-0.5, 1.5, 13)
    return "".join(f"{label}{i:4d}{13:4d}\n" + block(values, digits=7) for i in range(first, first + n_atoms))


def chgcar(fields, head: str | None = None, augmented: bool = True, moments=(0.1, -0.1), per_line: int = 5) -> str:
    """A whole file; between the fields stand the moments of the atoms. ``fields`` in e/Å³."""
    text = header() if head is None else head
    for number, field in enumerate(fields):
        text += "\n" if number == 0 else block(np.array(moments), digits=7)
        text += grid_line(field.shape) + block(field * VOLUME_ANG3, per_line)
        text += augmentation() if augmented else ""
    return text


def cube(values: np.ndarray, numbers=(14, 14), unit: float = 1.0, extra: str = "") -> str:
    """A Gaussian cube in Bohr, one row of the last axis after the other; ``extra`` ends the third line."""
    shape = values.shape
    lines = ["synthetic", "density", f"{len(numbers)} 0.0 0.0 0.0{extra}"]
    for n, vector in zip(shape, LATTICE_ANG, strict=True):
        lines.append(f"{n if unit == 1.0 else -n} " + " ".join(f"{x / n / Bohr * unit:.10f}" for x in vector))
    for number, position in zip(numbers, COORDS @ LATTICE_ANG, strict=True):
        lines.append(f"{number} 4 " + " ".join(f"{x / Bohr * unit:.8f}" for x in position))
    for row in values.reshape(-1, shape[2]) * Bohr**3:
        lines += [" ".join(f"{x:.7E}" for x in row[i : i + 6]) for i in range(0, len(row), 6)]
    return "\n".join(lines) + "\n"
