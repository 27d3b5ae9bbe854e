"""CPU seconds per material for all features of a density: ``python benchmarks/features_per_material.py [repeats]``.

Four fingerprints, the descriptors and the averaged latent (64³ window, untrained network of the shipped size) of three
made densities, from one shared ``CrystalDescription`` and from one for each feature. One thread, best of the repeats.
"""

import os
import sys
import time

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import numpy as np
import torch

from rho2prop.autoencoder.encoding import encode_averaged
from rho2prop.autoencoder.network import AutoencoderConfig, build_autoencoder
from rho2prop.densities.crystal_description import CrystalDescription
from rho2prop.densities.density import Density
from rho2prop.densities.grids import Grid
from rho2prop.features.description import describe

DESCRIPTORS = ("magpie", "composition", "cohesive_energy", "elemental_solids", "structure", "spring_network")
FINGERPRINTS = ("fingerprint", "promolecule_fingerprint", "deformation_fingerprint", "atom_position_fingerprint")
BLOCKS = {*DESCRIPTORS, *FINGERPRINTS}
GRID = Grid(kind="window", size=64, voxel_ang=0.15)
REPEATS = int(sys.argv[1]) if len(sys.argv) > 1 else 5


def made_density(lattice, shape, numbers, coords) -> Density:
    """One Gaussian of four electrons per atom as the promolecule, a smooth wave on top of it as the deformation."""
    lattice, coords = np.array(lattice, dtype=float), np.array(coords)
    points = np.stack(np.meshgrid(*[np.arange(n) / n for n in shape], indexing="ij"), axis=-1)
    promolecule = np.full(shape, 0.02)
    for position in coords:
        offset = points - position
        distance = (offset - np.round(offset)) @ lattice
        promolecule += 0.5 * np.exp(-np.sum(distance**2, axis=-1) / (2 * 0.6**2))
    wave = 1 + 0.05 * np.cos(2 * np.pi * points @ np.array([1, 2, 1]) + 0.3)
    volume, n_electrons = abs(np.linalg.det(lattice)), 4.0 * len(numbers)
    promolecule *= n_electrons / (promolecule.mean() * volume)
    values = promolecule * wave
    values *= n_electrons / (values.mean() * volume)
    return Density(values, lattice, np.array(numbers), coords, n_electrons, "valence", "made", promolecule)


def best_seconds(action) -> float:
    """Least processor time of a few calls, in seconds."""
    seconds = []
    for _ in range(REPEATS):
        started = time.process_time()
        action()
        seconds.append(time.process_time() - started)
    return min(seconds)


torch.set_num_threads(1)
torch.manual_seed(0)
model = build_autoencoder(AutoencoderConfig(network="fast", grid_size=64, latent_size=8, dropout=0.0)).eval()
rng = np.random.default_rng(0)
slots = (np.array(list(np.ndindex(2, 3, 4))) + 0.5) / (2, 3, 4)
DENSITIES = {
    "2 atoms, cubic, 36³": made_density(3.6 * np.eye(3), (36, 36, 36), [55, 17], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    "8 atoms, tetragonal, 48×48×80": made_density(
        np.diag([4.8, 4.8, 8.0]), (48, 48, 80), [22, 22, 8, 8, 8, 8, 38, 38],
        [[0.5, 0.5, 0.25], [0.5, 0.5, 0.75], [0.5, 0, 0.25], [0, 0.5, 0.25], [0.5, 0, 0.75], [0, 0.5, 0.75],
         [0, 0, 0], [0, 0, 0.5]],
    ),
    "24 atoms, triclinic, 64×80×96": made_density(
        [[6.1, 0.2, -0.1], [-0.9, 7.6, 0.3], [0.5, 0.7, 9.2]], (64, 80, 96), [12] * 2 + [14] * 6 + [8] * 16,
        rng.permutation(slots) + rng.uniform(-0.03, 0.03, (24, 3)),
    ),
}  # fmt: skip


def latent(crystal: CrystalDescription) -> np.ndarray:
    """The averaged latent."""
    return encode_averaged(model, crystal, GRID)


def report(name: str, density: Density) -> None:
    """Print the seconds of the parts with a description of their own, and of all with one for all."""

    def described_alone(blocks):
        return lambda: [describe(CrystalDescription(density), name, {block}) for block in blocks]

    def described_together():
        crystal = CrystalDescription(density)
        return describe(crystal, name, BLOCKS), latent(crystal)

    seconds = {
        "descriptors": best_seconds(described_alone(DESCRIPTORS)),
        "fingerprints": best_seconds(described_alone(FINGERPRINTS)),
        "latent": best_seconds(lambda: latent(CrystalDescription(density))),
    }
    parts = ", ".join(f"{part} {value:.3f}" for part, value in seconds.items())
    n_origins = len(CrystalDescription(density).origins)
    shared, separate = best_seconds(described_together), sum(seconds.values())
    print(f"{name}, {n_origins} origins: shared {shared:.3f}, separate {separate:.3f} ({parts})")


print(f"CPU seconds per material, best of {REPEATS}, numpy {np.__version__}, torch {torch.__version__}")
for material, made in DENSITIES.items():
    report(material, made)
