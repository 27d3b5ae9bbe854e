"""Reconstruction errors of the autoencoder, Fourier truncation and zfp at equal bytes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import zfpy
from scipy import fft
from tqdm import tqdm

from rho2prop.autoencoder.network import Autoencoder
from rho2prop.autoencoder.training import load_autoencoder, read_parts
from rho2prop.core.atomic_files import atomic
from rho2prop.densities.density import Density, read_npz
from rho2prop.densities.field_names import DEFORMATION, TOTAL
from rho2prop.densities.fields import take_field
from rho2prop.densities.fourier import wave_vectors
from rho2prop.densities.grids import Grid, cell_mask, to_grid

COLUMNS = ["material_id", "method", "part", "bytes", "mse", "mae", "nmae"]
BYTES_PER_COEFFICIENT = 4  # complex number of two float16


def evaluate(folder: Path | str, paths: dict[str, Path], grid: Grid, threads: int = 1) -> pd.DataFrame:
    """Errors of reconstruction on the validation and test densities of an autoencoder.

    Parameters
    ----------
    folder
        Folder of the autoencoder.
    paths
        Material ids and density files.
    grid
        The cube that the autoencoder reads.
    threads
        CPU threads.

    Returns
    -------
    pandas.DataFrame
        ``material_id, method, part, bytes, mse, mae, nmae``. MSE in (e/Å³)² and MAE in e/Å³ over the whole
        grid (the paper's measures); ``nmae`` is Σ|ρ−ρ̂| / Σρ over the points inside one real cell. Methods:
        ``autoencoder`` (latent in float16), ``fourier`` (the longest waves of the native density, float16) and
        ``zfp`` (error-bounded, of the native density), each with at most the bytes of the latent. Of an autoencoder of
        another field the methods start with its name: ``deformation_autoencoder``. Where the promolecule is
        known, errors of the deformation density are those of the density: ``nmae`` is relative to the total density.
    """
    torch.set_num_threads(threads)
    model, record = load_autoencoder(folder)
    field = record["field"]
    prefix = "" if field == TOTAL else f"{field}_"
    parts = read_parts(folder)
    kept = [name for name in paths if parts[name] != "train"]
    budget_bytes = 2 * 16 * model.config.latent_size**3
    rows = []
    for name in tqdm(kept, desc="reconstruction", unit="density"):
        path = paths[name]
        total = read_npz(path)
        density = take_field(total, field, str(path))
        original = to_grid(density, grid)
        mask = cell_mask(density, grid)
        whole = to_grid(total, grid) if field == DEFORMATION else original
        rebuilt = {
            "autoencoder": (budget_bytes, reconstruct(model, original)),
            "fourier": _on_grid(density, grid, *fourier_truncated(density, budget_bytes)),
            "zfp": _on_grid(density, grid, *zfp_compressed(density.values, budget_bytes)),
        }
        for method, (n_bytes, values) in rebuilt.items():
            rows.append(
                {"material_id": name, "method": prefix + method, "part": parts[name], "bytes": n_bytes}
                | errors(original, values, mask, whole)
            )
    return pd.DataFrame(rows, columns=COLUMNS)


def errors(
    original: np.ndarray, rebuilt: np.ndarray, mask: np.ndarray, total: np.ndarray | None = None
) -> dict[str, float]:
    """MSE and MAE over all points; Σ|error| / Σ|total| over the points of ``mask`` (``total`` None: the original)."""
    difference = rebuilt.astype(np.float64) - original
    return {
        "mse": float(np.mean(difference**2)),
        "mae": float(np.mean(np.abs(difference))),
        "nmae": float(np.abs(difference[mask]).sum() / np.abs((original if total is None else total)[mask]).sum()),
    }


@torch.no_grad()
def reconstruct(model: Autoencoder, original: np.ndarray) -> np.ndarray:
    """A grid through the autoencoder, its latent rounded to float16 as it is stored."""
    latent = model.encoder(torch.from_numpy(original)[None, None]).half().float()
    return model.decoder(latent)[0, 0].numpy()


def fourier_truncated(density: Density, budget_bytes: int) -> tuple[int, np.ndarray]:
    """Bytes and values after keeping the longest waves that fit, as float16 relative to the largest of them.

    Half of the spectrum is enough for a real field; one float32 holds the largest (of a density the mean; a
    difference has none). If all coefficients fit, all are kept.
    """
    shape = density.values.shape
    spectrum = fft.rfftn(density.values.astype(np.float64))
    largest = max(np.abs(spectrum).max(), np.finfo(np.float64).tiny)
    length = np.sqrt(np.sum(wave_vectors(density.lattice, shape) ** 2, axis=0)).ravel()
    n_kept = min(length.size, (budget_bytes - 4) // BYTES_PER_COEFFICIENT)
    kept = np.argsort(length, kind="stable")[:n_kept]
    scaled = (spectrum.ravel()[kept] / largest).astype(np.complex64)
    rounded = scaled.real.astype(np.float16) + 1j * scaled.imag.astype(np.float16)
    truncated = np.zeros(length.size, dtype=np.complex128)
    truncated[kept] = rounded * largest
    values = fft.irfftn(truncated.reshape(spectrum.shape), shape)
    return n_kept * BYTES_PER_COEFFICIENT + 4, values


def zfp_compressed(values: np.ndarray, budget_bytes: int) -> tuple[int, np.ndarray]:
    """Bytes and values after zfp with the smallest error bound that fits into the budget (bisection)."""
    values = np.ascontiguousarray(values, dtype=np.float32)
    low, high = -8.0, np.log10(np.abs(values).max() + 1e-12) + 1.0  # log10 of the bound in e/Å³
    best = zfpy.compress_numpy(values, tolerance=10.0**high)
    for _ in range(16):
        middle = (low + high) / 2
        compressed = zfpy.compress_numpy(values, tolerance=10.0**middle)
        if len(compressed) <= budget_bytes:
            best, high = compressed, middle
        else:
            low = middle
    return len(best), zfpy.decompress_numpy(best)


def _on_grid(density: Density, grid: Grid, n_bytes: int, values: np.ndarray) -> tuple[int, np.ndarray]:
    return n_bytes, to_grid(replace(density, values=values), grid)


def write_test_slices(
    folder: Path | str,
    paths: dict[str, Path],
    formulas: dict[str, str],
    grid: Grid,
    outputs: list[str],
) -> None:
    """Write middle slices of test densities: original, reconstructed, difference.

    Parameters
    ----------
    folder
        Folder of the autoencoder.
    paths, formulas
        Material ids with density files and with formulas.
    grid
        The cube that the autoencoder reads.
    outputs
        One npz file for each of the first test materials: arrays ``original, reconstructed, difference``, shape
        (n, n), e/Å³; scalars ``edge_ang`` (0 for padded grids), ``nmae``; ``formula``, ``material_id``.
    """
    model, _ = load_autoencoder(folder)
    parts = read_parts(folder)
    held_out = [name for part in ("test", "validation", "train") for name in paths if parts[name] == part]
    for output, name in zip(outputs, held_out, strict=False):
        density = read_npz(paths[name])
        original = to_grid(density, grid)
        rebuilt, mask = reconstruct(model, original), cell_mask(density, grid)
        middle = grid.size // 2 if grid.kind == "window" else density.values.shape[2] // 2
        edge_ang = grid.size * grid.voxel_ang if grid.kind == "window" else 0.0
        with atomic(output) as temporary, temporary.open("wb") as stream:
            np.savez(
                stream,
                original=original[:, :, middle],
                reconstructed=rebuilt[:, :, middle],
                difference=rebuilt[:, :, middle] - original[:, :, middle],
                edge_ang=edge_ang,
                nmae=errors(original, rebuilt, mask)["nmae"],
                formula=formulas[name],
                material_id=name,
            )
