"""Fingerprint of the deformation density δ = ρ − ρ_promolecule: how much charge bonding moves, and where to.

As in ``rho2prop.features.fingerprint`` every number is an average over the periodic crystal, so that no choice of
cell, axes or origin changes it. Learning from the deformation density is the idea of Δ-SAED
(arXiv:2510.00788).
"""

import numpy as np
from scipy import constants, fft

from rho2prop.densities.crystal_description import CrystalDescription
from rho2prop.densities.field_names import DEFORMATION, PROMOLECULE
from rho2prop.features.field_statistics import (
    DENSITY_FLOOR,
    LOG_DENSITY_BINS,
    POWER_FLOOR,
    half_weights,
    quantiles,
    shares,
    shell_powers,
)

DIFFERENCE_UNIT = 0.01  # e/Å³; arcsinh of δ in it is linear for small values, logarithmic for large ones
RELATIVE_BOUNDS = (-1.0, 5.0)  # of δ/ρ_atoms, which is of no meaning where both vanish
COULOMB_EV_ANG = constants.e / (4 * np.pi * constants.epsilon_0) * 1e10  # e²/4πε₀ = 14.40 eV Å
TINY = 1e-12


def deformation_statistics(crystal: CrystalDescription, origin: np.ndarray) -> dict[str, float]:
    """Statistics of the deformation density on a grid that starts at one origin of the crystal.

    Parameters
    ----------
    crystal
        With a density and its promolecule, e/Å³.
    origin
        Fractional coordinates, shape (3,).

    Returns
    -------
    dict
        Feature name to value. ``moved``: ½∫|δ|, the electrons that bonding moves; ``gain`` and ``abs``: ∫δ and ∫|δ| per
        atom where the promolecule lies in a bin; ``hartree``: electrostatic energy of δ with itself; ``vq`` and
        ``cq``: quantiles by volume and by the charge of the promolecule.
    """
    deformation, spectrum = crystal.shifted_field(DEFORMATION, origin)
    promolecule, _ = crystal.shifted_field(PROMOLECULE, origin)
    n_atoms, n_electrons, volume = len(promolecule.numbers), promolecule.n_electrons, promolecule.volume_ang3
    shape, values = deformation.values.shape, deformation.values.ravel()
    atoms = np.maximum(promolecule.values.ravel(), DENSITY_FLOOR)
    size = np.abs(values)
    moved, rms = size.mean() * volume / 2, np.sqrt(np.mean(values**2))
    features = {
        "moved_per_atom": moved / n_atoms,
        "moved_per_electron": moved / n_electrons,
        "log_moved_per_volume": np.log10(moved / volume + TINY),
        "log_rms": np.log10(rms + TINY),
        "log_rms_relative": np.log10(rms * volume / n_electrons + TINY),
        "skewness": np.cbrt(np.mean(values**3)) / (rms + TINY),
        "volume_of_gain": np.mean(values > 0),
        "charge_of_gain": atoms[values > 0].sum() / atoms.sum(),
    }
    features |= quantiles("delta", np.arcsinh(values / DIFFERENCE_UNIT), atoms)
    features |= quantiles("relative", np.clip(values / atoms, *RELATIVE_BOUNDS), atoms)
    density_shares = shares(np.log10(atoms), LOG_DENSITY_BINS)
    for name, field in (("gain", values), ("abs", size)):
        inside = np.zeros(len(LOG_DENSITY_BINS))
        for bins, share in density_shares:
            inside += np.bincount(bins, share * field, minlength=inside.size)
        inside *= volume / values.size / n_atoms
        features |= {f"{name}_rho{edge:+.1f}": value for edge, value in zip(LOG_DENSITY_BINS, inside, strict=True)}
    wave_squared = crystal.wave_squared
    features |= shell_powers(spectrum * volume / (values.size * n_electrons), wave_squared)
    power = half_weights(spectrum) * np.abs(spectrum / values.size) ** 2
    power[0, 0, 0] = 0.0
    hartree = 2 * np.pi * COULOMB_EV_ANG * volume * (power / np.where(wave_squared > 0, wave_squared, 1.0)).sum()
    features |= {
        "log_hartree_per_atom": np.log10(hartree / n_atoms + POWER_FLOOR),
        "log_hartree_per_volume": np.log10(hartree / volume + POWER_FLOOR),
    }
    gradient = np.stack([fft.irfftn(1j * component * spectrum, shape).ravel() for component in crystal.wave_vectors])
    tensor = gradient @ gradient.T / values.size
    trace = np.trace(tensor) + TINY
    features["log_rms_gradient"] = 0.5 * np.log10(trace)
    features |= {f"anisotropy_{i}": value for i, value in enumerate(np.linalg.eigvalsh(tensor / trace))}
    return {name: float(value) for name, value in features.items()}
