"""Latents of densities: of the window at the origin of the cell (for decoding), and averaged (for prediction).

A window of the density turns with the crystal and lies around the origin of its cell, and the latent of a convolutional
network depends on both. The mean latent over the 24 rotations of the window, around each of
``rho2prop.densities.origins``, is the same for a rotated crystal, another origin and a supercell.
"""

from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from rho2prop.autoencoder.network import LATENT_CHANNELS, Autoencoder
from rho2prop.autoencoder.training import load_autoencoder
from rho2prop.core.atomic_files import atomic
from rho2prop.core.errors import InputError
from rho2prop.densities.crystal_description import CrystalDescription
from rho2prop.densities.density import Density, read_npz
from rho2prop.densities.field_names import TOTAL
from rho2prop.densities.grids import Grid, to_grid
from rho2prop.densities.transformations import ROTATIONS

BATCH_VOXELS = 2**22  # of the windows that go through the encoder at once


def encode(model: Autoencoder, density: Density, grid: Grid) -> np.ndarray:
    """Latent of a density as its cell describes it, float32, shape (16, s, s, s)."""
    return _encoded(model, [to_grid(density, grid)])


def encode_averaged(model: Autoencoder, crystal: CrystalDescription, grid: Grid, field: str = TOTAL) -> np.ndarray:
    """Mean latent over all origins and orientations, float32, shape (16, s, s, s).

    Parameters
    ----------
    model
        Trained autoencoder.
    crystal
        Crystal with a density; its origins and shifted fields are those that the fingerprints use.
    grid
        How the density is sampled. A padded grid has one latent only, that of ``encode``: its box is the
        cell, and a turned box is not the grid of the turned crystal.
    field
        The field that the autoencoder was trained on.
    """
    if grid.kind != "window":
        return encode(model, crystal.field(field), grid)
    latents = []
    for origin in crystal.origins:
        window = to_grid(crystal.shifted_field(field, origin)[0], grid)
        latents.append(_encoded(model, [turned(window, rotation) for rotation in ROTATIONS]))
    return np.stack(latents).mean(axis=0, dtype=np.float32)


def turned(window: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """The window of the rotated crystal: the origin lies in the middle of the array."""
    order = np.abs(rotation).argmax(axis=1)
    flipped = tuple(np.flatnonzero(rotation[range(3), order] < 0).tolist())
    return np.ascontiguousarray(np.flip(window.transpose(order), flipped))


@torch.no_grad()
def _encoded(model: Autoencoder, windows: list[np.ndarray]) -> np.ndarray:
    """Mean of the latents of some windows, shape (16, s, s, s)."""
    device = next(model.parameters()).device
    at_once = max(1, BATCH_VOXELS // windows[0].size)
    total = torch.zeros(())
    for start in range(0, len(windows), at_once):
        batch = torch.from_numpy(np.stack(windows[start : start + at_once]))[:, None].to(device)
        total = total + model.encoder(batch).sum(dim=0).cpu()
    return (total / len(windows)).numpy()


def encode_files(
    folder: Path | str, paths: list[tuple[str, Path]], grid: Grid, threads: int, field: str = TOTAL
) -> tuple[np.ndarray, np.ndarray]:
    """Latents of a field of densities as their cells describe them, and averaged: float16, each (N, 16, s, s, s).

    Parameters
    ----------
    folder
        Trained autoencoder.
    paths
        Material ids and density files.
    grid, field
        What the autoencoder must have been trained on.
    threads
        CPU threads; the last digits depend on them.

    Raises
    ------
    InputError
        The autoencoder belongs to another grid or field, or a latent does not fit into float16.
    """
    torch.set_num_threads(threads)
    model, record = load_autoencoder(folder)
    trained = Grid(**record["grid"])
    if (trained, record["field"]) != (grid, field):
        problem = f"was trained on field {record['field']!r} with {trained}, expected {field!r} with {grid}"
        raise InputError(folder, problem, "Train the autoencoder again", code="mismatch")
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    size = model.config.latent_size
    latents, averaged = np.empty((2, len(paths), LATENT_CHANNELS, size, size, size), dtype=np.float16)
    for row, (_, path) in enumerate(tqdm(paths, desc="latents", unit="density")):
        crystal = CrystalDescription(read_npz(path), path)
        with np.errstate(over="ignore"):  # checked in the next line
            latents[row] = encode(model, crystal.field(field), grid)
            averaged[row] = encode_averaged(model, crystal, grid, field)
        if not (np.isfinite(latents[row]).all() and np.isfinite(averaged[row]).all()):
            problem = f"its latent in {folder} holds values beyond those of float16 (65504)"
            raise InputError(path, problem, "Check this density, or train the autoencoder again")
    return latents, averaged


def write_latents(path: Path | str, material_ids: list[str], latents: np.ndarray, averaged: np.ndarray) -> None:
    """Write both kinds of latents, each (N, C, D, H, W), with their material ids."""
    with atomic(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, material_ids=np.array(material_ids, dtype=str), latents=latents, averaged=averaged)


def read_latents(path: Path | str) -> dict[str, np.ndarray]:
    """Arrays ``material_ids`` (N,), ``latents`` and ``averaged`` (N, C, D, H, W)."""
    with np.load(path) as arrays:
        return {name: arrays[name] for name in ("material_ids", "latents", "averaged")}
