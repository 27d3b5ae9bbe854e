"""A stored latent: everything that is needed to make a density of it again, except the decoder."""

from dataclasses import dataclass

import numpy as np
from pymatgen.core import Composition, Element

from rho2prop.density import Density
from rho2prop.errors import InputError
from rho2prop.models.autoencoder import LATENT_CHANNELS


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
        As in ``rho2prop.density.Density``.
    grid
        Section ``grid`` of the configuration that the density was sampled with: ``kind``, ``size``, ``voxel_ang``.
    autoencoder_sha256
        ``rho2prop.decoding.autoencoder_sha256`` of the network that made the latent; only its decoder reads it.
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
    grid: dict
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
    material_id: str, density: Density, latent: np.ndarray, grid: dict, autoencoder_sha256: str
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
        shape=tuple(int(n) for n in density.values.shape),
        kind=density.kind,
        engine=density.engine,
        grid={"kind": grid["kind"], "size": int(grid["size"]), "voxel_ang": float(grid["voxel_ang"])},
        autoencoder_sha256=autoencoder_sha256,
    )


def _counts(numbers: np.ndarray) -> dict[str, int]:
    found, counts = np.unique(numbers, return_counts=True)
    return {Element.from_Z(int(number)).symbol: int(count) for number, count in zip(found, counts, strict=True)}
