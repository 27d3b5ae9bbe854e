"""Density fingerprint: statistics of ρ and its derivatives that no choice of cell, axes or origin changes.

Every number is an average over the periodic crystal, so a supercell, a rotation or a shift of the origin leaves it
alone (1e-6 relative on the same sampling); grids start at the same points of the crystal, so that a shift by part of
a grid point does neither. Histograms share each point linearly between the two nearest bins and
quantiles are order statistics, so that rounding noise cannot move a value by a whole bin.
"""

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import fft
from tqdm import tqdm

from rho2prop.centres import distinct_centres
from rho2prop.density import Density, read_npz
from rho2prop.fourier import half_spectrum, wave_vectors
from rho2prop.transformations import shifted

DENSITY_FLOOR = 1e-4  # e/Å³; below it PAW pseudo-densities are noise and may be negative
# Just under round fractions: q·N is then never an integer, whatever the number of points.
QUANTILES = np.array([0.005, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.995]) - 1e-7
LOG_DENSITY_BINS = np.linspace(-2.5, 1.5, 9)  # log10 of ρ in e/Å³
LOG_GRADIENT_BINS = np.linspace(-1.5, 1.0, 6)  # log10 of the reduced gradient s
SHELLS_PER_ANG = np.arange(1.0, 13.0, 1.0)  # |G| in 1/Å
POWER_FLOOR = 1e-9
QUANTILE_BINS = 2**14


def fingerprint(density: Density) -> dict[str, float]:
    """Invariant statistics of a charge density.

    Parameters
    ----------
    density
        Valence density in e/Å³ on its native periodic grid.

    Returns
    -------
    dict
        Feature name to value: mean of ``statistics`` over grids that start at each of the crystal's centres
        (``rho2prop.centres``).
    """
    coords, shares = distinct_centres(density)
    found = [statistics(shifted(density, -centre)) for centre in coords]
    return {name: float(np.dot(shares, [one[name] for one in found])) for name in found[0]}


def statistics(density: Density) -> dict[str, float]:
    """Statistics of a density on the points of its own grid.

    Returns
    -------
    dict
        Feature name to value. ``vq``: quantiles by volume, ``cq``: quantiles by charge.

    Notes
    -----
    Reduced gradient s = |∇ρ| / (2 (3π²)^⅓ ρ^⁴ᐟ³) and reduced Laplacian q = ∇²ρ / (4 (3π²)^⅔ ρ^⁵ᐟ³) as in
    J. P. Perdew et al., Phys. Rev. Lett. 77, 3865 (1996); derivatives are taken in Fourier space with the
    metric of the cell.
    """
    values = np.asarray(density.values, dtype=np.float64)
    spectrum = half_spectrum(values)
    wave = wave_vectors(density.lattice, values.shape)
    gradient = np.stack([fft.irfftn(1j * component * spectrum, values.shape).ravel() for component in wave])
    wave_squared = np.einsum("ixyz,ixyz->xyz", wave, wave)
    laplacian = fft.irfftn(-wave_squared * spectrum, values.shape).ravel()

    rho = np.maximum(values.ravel(), DENSITY_FLOOR)
    root = np.cbrt(rho)  # its powers cost less than rho ** (4 / 3)
    slope = np.sqrt(np.einsum("ip,ip->p", gradient, gradient))
    reduced_gradient = slope / (2 * (3 * np.pi**2) ** (1 / 3) * (rho * root))
    reduced_laplacian = laplacian / (4 * (3 * np.pi**2) ** (2 / 3) * (rho * root * root))
    log_rho = np.log10(rho)
    fields = {
        "log_rho": log_rho,
        "log_s": np.log10(np.maximum(reduced_gradient, 1e-3)),
        "q": np.arcsinh(reduced_laplacian),
        "laplacian": np.arcsinh(laplacian),
    }

    features = _global_statistics(density, rho, root, log_rho, slope, laplacian)
    for name, field in fields.items():
        features |= _quantiles(name, field, rho)
    features |= _histogram(fields["log_rho"], fields["log_s"])
    features |= _anisotropies(gradient, rho)
    features |= _power_spectrum(spectrum, wave_squared)
    return {name: float(value) for name, value in features.items()}


def fingerprint_of_file(path: Path) -> dict[str, float]:
    """Fingerprint of a stored density."""
    return fingerprint(read_npz(path))


def fingerprint_table(paths: list[tuple[str, Path]], processes: int = 1) -> pd.DataFrame:
    """Fingerprints of many stored densities.

    Parameters
    ----------
    paths
        Material ids and density files.
    processes
        Number of worker processes.

    Returns
    -------
    pandas.DataFrame
        Index ``material_id``, one column per feature.
    """
    names, files = zip(*paths, strict=True)
    with ProcessPoolExecutor(processes) as pool:
        rows = list(tqdm(pool.map(fingerprint_of_file, files, chunksize=4), total=len(files), desc="fingerprints"))
    return pd.DataFrame(rows, index=pd.Index(names, name="material_id"))


def _global_statistics(
    density: Density, rho: np.ndarray, root: np.ndarray, log_rho: np.ndarray, slope: np.ndarray, laplacian: np.ndarray
) -> dict:
    n_atoms = len(density.numbers)
    charge = rho.sum()
    features = {
        "electrons_per_atom": density.n_electrons / n_atoms,
        "mean_rho": density.n_electrons / density.volume_ang3,
        "volume_per_atom": density.volume_ang3 / n_atoms,
        "volume_per_electron": density.volume_ang3 / density.n_electrons,
        "log_min_rho": np.log10(rho.min()),
        "log_max_rho": np.log10(rho.max()),
        "thomas_fermi": np.log10(np.mean(rho * root * root)),
        "slater": np.log10(np.mean(rho * root)),
        "weizsaecker": np.log10(np.mean(slope**2 / (8 * rho))),
        "log_std_rho": np.log10(rho.std()),
        "harmonic_rho": np.log10(1 / np.mean(1 / rho)),
        "geometric_rho": np.mean(log_rho),
        "cube_root_rho": np.log10(np.mean(root)),
        "volume_of_charge_depletion": np.mean(laplacian > 0),
        "charge_of_depletion": rho[laplacian > 0].sum() / charge,
    }
    for level in (0.02, 0.05, 0.1, 0.2, 0.4, 0.8):
        below = rho < level
        features[f"volume_below_{level}"] = below.mean()
        features[f"charge_below_{level}"] = rho[below].sum() / charge
    return features


def _quantiles(name: str, field: np.ndarray, rho: np.ndarray) -> dict:
    """Quantiles of a field by volume and by charge.

    Only the points in the few bins where a quantile lies are sorted: a whole sort was half of the fingerprint's time.
    """
    low, high = field.min(), field.max()
    bins = ((field - low) * ((QUANTILE_BINS - 1) / max(high - low, 1e-300))).astype(np.int32)  # grows with the field
    n_in_bin = np.bincount(bins, minlength=QUANTILE_BINS)
    charge_in_bin = np.bincount(bins, rho, minlength=QUANTILE_BINS)
    n_until, charge_until = np.cumsum(n_in_bin), np.cumsum(charge_in_bin)
    ranks, charges = np.ceil(QUANTILES * field.size).astype(int) - 1, QUANTILES * charge_until[-1]
    of_ranks, of_charges = np.searchsorted(n_until, ranks, "right"), np.searchsorted(charge_until, charges)
    wanted = np.zeros(QUANTILE_BINS, dtype=bool)
    wanted[of_ranks] = wanted[of_charges] = True
    points = np.flatnonzero(wanted[bins])
    points = points[np.argsort(field[points], kind="stable")]
    start = np.searchsorted(bins[points], np.arange(QUANTILE_BINS))  # of each wanted bin among the sorted points
    by_volume = field[points[start[of_ranks] + ranks - (n_until - n_in_bin)[of_ranks]]]
    by_charge = []
    for charge, of_charge in zip(charges, of_charges, strict=True):
        inside = points[start[of_charge] : start[of_charge] + n_in_bin[of_charge]]
        reached = charge_until[of_charge] - charge_in_bin[of_charge] + np.cumsum(rho[inside])
        by_charge.append(field[inside[min(np.searchsorted(reached, charge), len(inside) - 1)]])
    features = {f"{name}_vq{q:.3f}": value for q, value in zip(QUANTILES + 1e-7, by_volume, strict=True)}
    return features | {f"{name}_cq{q:.3f}": value for q, value in zip(QUANTILES + 1e-7, by_charge, strict=True)}


def _shares(field: np.ndarray, bins: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The two nearest bins of each point and its linear share in each; points outside go to the last bin."""
    position = np.clip((field - bins[0]) / (bins[1] - bins[0]), 0, len(bins) - 1)
    lower = np.minimum(position.astype(int), len(bins) - 2)
    upper_share = position - lower
    return [(lower, 1 - upper_share), (lower + 1, upper_share)]


def _histogram(log_rho: np.ndarray, log_s: np.ndarray) -> dict:
    """Share of the volume by density and reduced gradient."""
    shape = len(LOG_DENSITY_BINS), len(LOG_GRADIENT_BINS)
    counts = np.zeros(shape[0] * shape[1])
    for i, share_i in _shares(log_rho, LOG_DENSITY_BINS):
        for j, share_j in _shares(log_s, LOG_GRADIENT_BINS):
            counts += np.bincount(i * shape[1] + j, share_i * share_j, minlength=counts.size)
    counts = (counts / log_rho.size).reshape(shape)
    return {
        f"hist_rho{LOG_DENSITY_BINS[i]:+.1f}_s{LOG_GRADIENT_BINS[j]:+.1f}": counts[i, j] for i, j in np.ndindex(shape)
    }


def _anisotropies(gradient: np.ndarray, rho: np.ndarray) -> dict:
    """Sorted eigenvalues of ⟨w ∇ρ ∇ρᵀ⟩ / ⟨w |∇ρ|²⟩ for weights that stress cores, bonds and interstices."""
    features = {}
    for name, power in (("core", 0.0), ("bond", -1.0), ("interstice", -2.0)):
        tensor = (gradient * rho**power) @ gradient.T
        eigenvalues = np.linalg.eigvalsh(tensor / np.trace(tensor))
        features |= {f"anisotropy_{name}_{i}": value for i, value in enumerate(eigenvalues)}
    return features


def _power_spectrum(spectrum: np.ndarray, wave_squared: np.ndarray) -> dict:
    """log10 of Σ|ρ_G|²/ρ₀² in shells of |G|, G = 0 left out."""
    twice = np.full(spectrum.shape, 2.0)  # rfftn keeps one of each pair ±G, but both on the plane 0
    twice[..., 0] = 1.0
    power = twice * np.abs(spectrum / spectrum[0, 0, 0].real) ** 2
    power[0, 0, 0] = 0.0
    length = np.sqrt(wave_squared).ravel()
    inside = length < SHELLS_PER_ANG[-1] + 0.5
    total = np.zeros(len(SHELLS_PER_ANG))
    for index, share in _shares(length[inside], SHELLS_PER_ANG):
        total += np.bincount(index, share * power.ravel()[inside], minlength=total.size)
    return {f"power_{g:.0f}": np.log10(p + POWER_FLOOR) for g, p in zip(SHELLS_PER_ANG, total, strict=True)}
