"""Density fingerprint: statistics of ρ and its derivatives, invariant under the choice of cell, axes and origin.

Every number is an average over the periodic crystal, so that a supercell, a rotation or a shift of the origin does not
change it (1e-6 relative on the same sampling); grids start at the same points of the crystal, so that a shift by part
of a grid point does not either. Histograms share each point linearly between the two nearest bins and
quantiles are order statistics, so that rounding noise cannot move a value by a whole bin.
"""

import numpy as np
from scipy import fft

from rho2prop.densities.crystal_description import CrystalDescription
from rho2prop.densities.density import Density
from rho2prop.densities.field_names import DEFORMATION, TOTAL
from rho2prop.features.deformation_fingerprint import deformation_statistics
from rho2prop.features.field_statistics import (
    DENSITY_FLOOR,
    LOG_DENSITY_BINS,
    LOG_GRADIENT_BINS,
    quantiles,
    shares,
    shell_powers,
)


def fingerprint(density: Density, field: str = TOTAL) -> dict[str, float]:
    """Invariant statistics of one field of a density."""
    return fingerprint_row(CrystalDescription(density), field)


def fingerprint_row(crystal: CrystalDescription, field: str) -> dict[str, float]:
    """Invariant statistics of one field of a crystal.

    Parameters
    ----------
    crystal
        With a valence density in e/Å³ on its native periodic grid.
    field
        One of ``rho2prop.densities.field_names.FIELDS``; the deformation density has statistics of its own
        (``rho2prop.features.deformation_fingerprint``).

    Returns
    -------
    dict
        Feature name to value: mean of the statistics over grids that start at each of the crystal's origins
        (``rho2prop.densities.origins``).
    """
    origins, weights = crystal.distinct_origins
    if field == DEFORMATION:
        rows = [deformation_statistics(crystal, origin) for origin in origins]
    else:
        rows = [statistics(crystal, field, origin) for origin in origins]
    return {name: float(np.dot(weights, [row[name] for row in rows])) for name in rows[0]}


def statistics(crystal: CrystalDescription, field: str, origin: np.ndarray) -> dict[str, float]:
    """Statistics of a non-negative field on a grid that starts at one origin of the crystal.

    Parameters
    ----------
    crystal
        With a density in e/Å³.
    field
        One of ``rho2prop.densities.field_names.FIELDS``.
    origin
        Fractional coordinates, shape (3,).

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
    density, spectrum = crystal.shifted_field(field, origin)
    values, wave_squared = density.values, crystal.wave_squared
    gradient = np.stack(
        [fft.irfftn(1j * component * spectrum, values.shape).ravel() for component in crystal.wave_vectors]
    )
    laplacian = fft.irfftn(-wave_squared * spectrum, values.shape).ravel()

    rho = np.maximum(values.ravel(), DENSITY_FLOOR)
    root = np.cbrt(rho)  # its powers cost less than rho ** (4 / 3)
    slope = np.sqrt(np.einsum("ip,ip->p", gradient, gradient))
    reduced_gradient = slope / (2 * (3 * np.pi**2) ** (1 / 3) * (rho * root))
    reduced_laplacian = laplacian / (4 * (3 * np.pi**2) ** (2 / 3) * (rho * root * root))
    log_rho = np.log10(rho)
    maps = {
        "log_rho": log_rho,
        "log_s": np.log10(np.maximum(reduced_gradient, 1e-3)),
        "q": np.arcsinh(reduced_laplacian),
        "laplacian": np.arcsinh(laplacian),
    }

    features = _global_statistics(density, rho, root, log_rho, slope, laplacian)
    for name, values_of_map in maps.items():
        features |= quantiles(name, values_of_map, rho)
    features |= _histogram(maps["log_rho"], maps["log_s"])
    features |= _anisotropies(gradient, rho)
    features |= shell_powers(spectrum / spectrum[0, 0, 0].real, wave_squared)
    return {name: float(value) for name, value in features.items()}


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


def _histogram(log_rho: np.ndarray, log_s: np.ndarray) -> dict:
    """Share of the volume by density and reduced gradient."""
    shape = len(LOG_DENSITY_BINS), len(LOG_GRADIENT_BINS)
    counts = np.zeros(shape[0] * shape[1])
    gradient_shares = shares(log_s, LOG_GRADIENT_BINS)
    for i, share_i in shares(log_rho, LOG_DENSITY_BINS):
        for j, share_j in gradient_shares:
            counts += np.bincount(i * shape[1] + j, share_i * share_j, minlength=counts.size)
    counts = (counts / log_rho.size).reshape(shape)
    return {
        f"hist_rho{LOG_DENSITY_BINS[i]:+.1f}_s{LOG_GRADIENT_BINS[j]:+.1f}": counts[i, j] for i, j in np.ndindex(shape)
    }


def _anisotropies(gradient: np.ndarray, rho: np.ndarray) -> dict:
    """Sorted eigenvalues of ⟨w ∇ρ ∇ρᵀ⟩ / ⟨w |∇ρ|²⟩ with weights that emphasise cores, bonds and interstices."""
    features: dict[str, float] = {}
    inverse = 1 / rho
    for name, weights in (("core", 1.0), ("bond", inverse), ("interstice", inverse * inverse)):
        tensor = (gradient * weights) @ gradient.T
        eigenvalues = np.linalg.eigvalsh(tensor / np.trace(tensor))
        features |= {f"anisotropy_{name}_{i}": value for i, value in enumerate(eigenvalues)}
    return features
