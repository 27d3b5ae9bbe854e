"""Decode a latent to a density on the native grid of its cell."""

import hashlib
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from rho2prop.autoencoder.latent_record import LatentRecord
from rho2prop.autoencoder.network import Autoencoder
from rho2prop.core.errors import InputError
from rho2prop.densities.density import Density, check
from rho2prop.densities.fourier import resample
from rho2prop.densities.grids import SPLINE_ORDER, Grid, padded_shape, to_grid

FADE = 0.1  # of half the window: over this depth below its faces the weight of an image falls
EDGE_WEIGHT = 1e-3  # of an image at a very face: it counts only where no better one is there
CHUNK = 2**18  # grid points looked at together


@dataclass(frozen=True)
class Decoder:
    """A trained autoencoder and the grid that its densities were sampled with."""

    model: Autoencoder
    grid: Grid
    sha256: str


def load_decoder(folder: Path | str) -> Decoder:
    """The decoder of an autoencoder folder (``results/autoencoder/<scope>``)."""
    from rho2prop.autoencoder.training import load_autoencoder  # the training library is slow to import

    model, record = load_autoencoder(folder)
    return make_decoder(model, Grid(**record["grid"]))


def make_decoder(model: Autoencoder, grid: Grid) -> Decoder:
    """The decoder of a network in memory."""
    return Decoder(model.eval(), grid, autoencoder_sha256(model))


def autoencoder_sha256(model: Autoencoder) -> str:
    """SHA-256 over the names, shapes and values of all weights, the same in whatever file they travel."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()


def decode_record(decoder: Decoder, record: LatentRecord) -> Density:
    """Decode a latent to a density on the native grid of its cell, with the right number of electrons.

    Parameters
    ----------
    decoder
        Of the autoencoder that made the latent.
    record
        Latent with cell, atoms, electrons and native grid.

    Returns
    -------
    Density
        Its engine says that it was decoded, and by which factor its electrons were rescaled.

    Raises
    ------
    InputError
        If another autoencoder made the latent, the window holds no image of some point of the cell, or the decoder
        returns no density that can be rescaled.
    """
    return decode_with_factor(decoder, record)[0]


def decode_with_factor(decoder: Decoder, record: LatentRecord) -> tuple[Density, float]:
    """As ``decode_record``, and the factor that the electrons were rescaled by."""
    source = f"latent of {record.material_id}"
    if record.autoencoder_sha256 != decoder.sha256:
        problem = f"was made by autoencoder {record.autoencoder_sha256[:12]}, this one is {decoder.sha256[:12]}"
        raise InputError(source, problem, "Use the models and the latents of one run")
    if record.grid != decoder.grid:
        raise InputError(source, f"was sampled on {record.grid}, the decoder gives {decoder.grid}", "Encode it again")
    if record.latent.shape[1] != decoder.model.config.latent_size:
        problem = f"has shape {record.latent.shape}, the decoder takes {decoder.model.config.latent_size}³"
        raise InputError(source, problem, "Encode the density again")
    with torch.no_grad():
        latent = torch.from_numpy(record.latent.astype(np.float32))[None]
        values = decoder.model.decoder(latent)[0, 0].numpy()
    # A decoder's noise between the atoms may fall below zero, a density may not.
    native = np.maximum(to_native(values, record.lattice, record.shape, record.grid, source), 0.0)
    volume_ang3 = abs(np.linalg.det(record.lattice))
    integral = float(native.mean(dtype=np.float64)) * volume_ang3
    if not np.isfinite(integral) or integral <= 0:
        problem = f"decodes to a density of {integral} electrons, expected about {record.n_electrons:g}"
        raise InputError(source, problem, "Train the autoencoder longer")
    factor = record.n_electrons / integral
    density = Density(
        values=(native * factor).astype(np.float32),
        lattice=record.lattice,
        numbers=record.numbers,
        frac_coords=record.frac_coords,
        n_electrons=record.n_electrons,
        kind=record.kind,
        engine=f"decoded by rho2prop from {record.engine}, electrons times {factor:.4f}",
    )
    check(density, source)
    return density, factor


def to_native(
    values: np.ndarray, lattice: np.ndarray, shape: tuple[int, int, int], grid: Grid, source: str
) -> np.ndarray:
    """Resample a cube of ``rho2prop.densities.grids.to_grid`` to the native grid of its cell.

    Parameters
    ----------
    values
        e/Å³, shape (size, size, size).
    lattice
        Lattice vectors in Å as rows.
    shape
        Points of the native grid.
    grid
        How the density was sampled.
    source
        Named in the message.

    Returns
    -------
    np.ndarray
        e/Å³, shape ``shape``, float64, periodic. ``padded``: the corner, Fourier-resampled where the cube shrank it.
        ``window``: the weighted mean over all periodic images of a point that lie in the window, each by a cubic
        spline; close to its faces, where spline and network know one side only, they weigh less. The mean over the
        images also averages the errors of a network: fading less or more deeply gave larger errors.

    Raises
    ------
    InputError
        If some point of the cell has no image in the window.
    """
    if grid.kind == "padded":
        kept = padded_shape(shape, grid.size)
        corner = values[: kept[0], : kept[1], : kept[2]].astype(np.float64)
        return corner if kept == tuple(shape) else resample(corner, shape)
    size, voxel_ang = grid.size, grid.voxel_ang
    coefficients = ndimage.spline_filter(values.astype(np.float64), SPLINE_ORDER, mode="mirror")
    half_ang = (size - 1) / 2 * voxel_ang
    total, weights = np.zeros(np.prod(shape)), np.zeros(np.prod(shape))
    images = _images(lattice, half_ang)
    for start in range(0, total.size, CHUNK):
        chunk = slice(start, min(start + CHUNK, total.size))
        points = np.stack(np.unravel_index(np.arange(chunk.start, chunk.stop), shape), axis=1) / np.array(shape)
        base_ang = points @ lattice
        for image in images:
            place_ang = base_ang + image
            inside = np.flatnonzero(np.abs(place_ang).max(axis=1) <= half_ang)
            if not inside.size:
                continue
            place = place_ang[inside] / half_ang
            weight = np.prod(np.minimum((1 - np.abs(place)) / FADE, 1.0) + EDGE_WEIGHT, axis=1)
            indices = ((place + 1) * (size - 1) / 2).T
            sampled = ndimage.map_coordinates(coefficients, indices, order=SPLINE_ORDER, mode="mirror", prefilter=False)
            total[start + inside] += weight * sampled
            weights[start + inside] += weight
    if not weights.all():
        edges = np.round(np.linalg.norm(lattice, axis=1), 2).tolist()
        problem = (
            f"cannot be decoded to its cell: the window is a cube of {2 * half_ang:.2f} Å, and "
            f"{np.mean(weights == 0):.1%} of the cell (edges {edges} Å) have no image in it"
        )
        raise InputError(
            source, problem, "Use a larger window (grid.size × grid.voxel_ang) and encode again", code="window"
        )
    return (total / weights).reshape(shape)


def _images(lattice: np.ndarray, half_ang: float) -> list[np.ndarray]:
    """Lattice translations in Å that bring some point of the cell (fractions 0 to 1) into the window."""
    corners = np.array(list(product((-half_ang, half_ang), repeat=3))) @ np.linalg.inv(lattice)
    low, high = np.floor(corners.min(axis=0)).astype(int) - 1, np.ceil(corners.max(axis=0)).astype(int)
    cell = np.array(list(product((0.0, 1.0), repeat=3))) @ lattice
    kept = []
    for n in product(*(range(a, b + 1) for a, b in zip(low, high, strict=True))):
        shift = np.array(n) @ lattice
        box = cell + shift
        if (box.min(axis=0) <= half_ang).all() and (box.max(axis=0) >= -half_ang).all():
            kept.append(shift)
    return kept


def sampled_back(density: Density, grid: Grid, source: str) -> np.ndarray:
    """The density sampled on the cube and back: the error of the grid without any network."""
    return to_native(to_grid(density, grid), density.lattice, density.values.shape, grid, source)
