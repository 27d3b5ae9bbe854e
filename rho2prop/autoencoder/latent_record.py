"""A stored latent: everything that is needed to decode it to a density, except the decoder."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pymatgen.core import Composition, Element

from rho2prop.autoencoder.network import LATENT_CHANNELS
from rho2prop.core.errors import InputError
from rho2prop.densities.density import Density
from rho2prop.densities.grids import Grid

MOST_ATOMS = 100_000
MOST_GRID_POINTS = 10**8  # decoding takes some 30 bytes for each
CLOSEST_POINTS_ANG = 0.01
SMALLEST_HEIGHT_ANG = 0.5  # of a cell between opposite faces: below, its images in the window would be countless
LARGEST_EDGE_ANG = 1000.0
LONGEST_TEXT = 1000  # characters of an id, formula or engine


@dataclass(frozen=True)
class LatentRecord:
    """Latent of one material.

    Parameters
    ----------
    material_id, formula
        Id and reduced formula.
    latent
        Output of the encoder, float16, shape (16, s, s, s), no unit; it stands for a density in e/Å³, not scaled.
    lattice
        Lattice vectors in Å as rows, shape (3, 3).
    numbers, frac_coords
        Atomic numbers, shape (n,), and fractional coordinates, shape (n, 3).
    n_electrons
        Number of electrons in the cell.
    shape
        Points of the native grid along each lattice vector.
    kind, engine
        As in ``rho2prop.densities.density.Density``.
    grid
        How the density was sampled.
    autoencoder_sha256
        ``rho2prop.autoencoder.decoding.autoencoder_sha256`` of the network that made the latent; only its
        decoder reads it.
    """

    material_id: str
    formula: str
    latent: np.ndarray
    lattice: np.ndarray
    numbers: np.ndarray
    frac_coords: np.ndarray
    n_electrons: float
    shape: tuple[int, int, int]
    kind: str
    engine: str
    grid: Grid
    autoencoder_sha256: str

    @property
    def chemical_system(self) -> str:
        """Elements in alphabetical order: ``Mg-O``."""
        return Composition(self.formula).chemical_system

    @property
    def volume_ang3(self) -> float:
        """Volume of the cell in Å³."""
        return float(abs(np.linalg.det(self.lattice)))


def make_record(
    material_id: str, density: Density, latent: np.ndarray, grid: Grid, autoencoder_sha256: str
) -> LatentRecord:
    """The record of a density and its latent (any float type, shape (16, s, s, s)).

    Raises
    ------
    InputError
        If the latent has another shape or a value that float16 cannot hold.
    """
    if latent.ndim != 4 or latent.shape[0] != LATENT_CHANNELS or len(set(latent.shape[1:])) != 1:
        problem = f"has shape {latent.shape}, expected ({LATENT_CHANNELS}, s, s, s)"
        raise InputError(f"latent of {material_id}", problem, "Encode the density again")
    with np.errstate(over="ignore"):  # checked in the next line
        halved = latent.astype(np.float16)
    if not np.isfinite(halved).all():
        problem = f"holds values up to {np.abs(latent).max():.3g}, float16 holds finite ones up to 65504"
        raise InputError(f"latent of {material_id}", problem, "Train the autoencoder again")
    composition = Composition.from_dict(_counts(density.numbers))
    return LatentRecord(
        material_id=material_id,
        formula=composition.reduced_formula,
        latent=halved,
        lattice=np.asarray(density.lattice, dtype=np.float64),
        numbers=np.asarray(density.numbers, dtype=np.int64),
        frac_coords=np.asarray(density.frac_coords, dtype=np.float64),
        n_electrons=float(density.n_electrons),
        shape=density.values.shape,
        kind=density.kind,
        engine=density.engine,
        grid=grid,
        autoencoder_sha256=autoencoder_sha256,
    )


def check_record(record: LatentRecord, source: Path | str) -> None:
    """Raise InputError unless a record is one that ``make_record`` could have made.

    Its sizes are bounded too: whatever a file claims, decoding takes a bounded time and amount of memory.
    """
    wrong = _what_is_wrong(record)
    if wrong:
        raise InputError(source, f"holds {wrong}, which no latent has", "Encode the density again")


def _what_is_wrong(record: LatentRecord) -> str:
    latent, lattice, numbers, n_atoms = record.latent, record.lattice, record.numbers, record.numbers.size
    texts = (record.material_id, record.formula, record.kind, record.engine, record.autoencoder_sha256)
    if any(not isinstance(text, str) or len(text) > LONGEST_TEXT for text in texts):
        return f"a name that is not a text of at most {LONGEST_TEXT} characters"
    if latent.ndim != 4 or latent.shape[0] != LATENT_CHANNELS or len(set(latent.shape[1:])) != 1 or latent.size == 0:
        return f"latent {latent.shape}"
    if latent.dtype != np.float16 or not np.isfinite(latent).all():
        return "values that are not finite float16"
    if lattice.shape != (3, 3) or not np.isfinite(lattice).all():
        return f"lattice {lattice.shape}, or values that are not finite"
    edges_ang = np.linalg.norm(lattice, axis=1)
    areas_ang2 = np.linalg.norm(np.cross(lattice[[1, 2, 0]], lattice[[2, 0, 1]]), axis=1)
    if edges_ang.max() > LARGEST_EDGE_ANG or record.volume_ang3 < SMALLEST_HEIGHT_ANG * areas_ang2.max():
        return f"a cell of edges {edges_ang.tolist()} Å and {record.volume_ang3:.3g} Å³"
    if numbers.ndim != 1 or not 0 < n_atoms <= MOST_ATOMS or numbers.min() < 1 or numbers.max() > 118:
        return f"{n_atoms} atoms, or atomic numbers outside 1 to 118"
    if record.frac_coords.shape != (n_atoms, 3) or not np.isfinite(record.frac_coords).all():
        return f"frac_coords {record.frac_coords.shape}, or values that are not finite"
    shape = record.shape
    if len(shape) != 3 or min(shape) < 1 or math.prod(shape) > MOST_GRID_POINTS:
        return f"shape {shape}"
    if any(edge < (n - 1) * CLOSEST_POINTS_ANG for n, edge in zip(shape, edges_ang, strict=True)):
        return f"shape {shape} for edges of {edges_ang.tolist()} Å"
    if not np.isfinite(record.n_electrons) or record.n_electrons <= 0:
        return f"n_electrons {record.n_electrons}"
    return ""


def _counts(numbers: np.ndarray) -> dict[str, int]:
    found, counts = np.unique(numbers, return_counts=True)
    return {Element.from_Z(int(number)).symbol: int(count) for number, count in zip(found, counts, strict=True)}
