"""Fields of a material that features are made of: the density, and what it is compared with.

``total``: the self-consistent density. ``superposition``: the same electrons as free atoms, what is known before any
self-consistency. ``difference``: total − superposition, what the bonds moved (Δ-SAED). ``occupancy``: one equal blur at
each atom, geometry without species or electrons. A block is named after its field (``difference_latent``), those of the
total density without it (``latent``).
"""

from dataclasses import replace

import numpy as np
from scipy import fft

from rho2prop.core.errors import InputError
from rho2prop.densities.density import Density
from rho2prop.densities.field_names import DIFFERENCE, FIELDS, OCCUPANCY, SUPERPOSITION, TOTAL, field_of
from rho2prop.densities.fourier import wave_vectors

__all__ = ["DIFFERENCE", "FIELDS", "OCCUPANCY", "SUPERPOSITION", "TOTAL", "field_of", "take_field"]
BLUR_ANG = 0.5  # standard deviation of the Gaussian at each atom of the occupancy


def take_field(density: Density, field: str, source: str = "density") -> Density:
    """One field of a material as a density of its own, on the same grid.

    Parameters
    ----------
    density
        Self-consistent density; ``superposition`` and ``difference`` need its superposition of atoms.
    field
        One of ``rho2prop.models.choices.FIELDS``.
    source
        Name for messages.

    Returns
    -------
    Density
        e/Å³ (occupancy: atoms/Å³). Its ``n_electrons`` is what it integrates to: 0 for the difference, the number of
        atoms for the occupancy.

    Raises
    ------
    InputError
        No superposition was stored.
    """
    if field == TOTAL:
        return replace(density, superposition=None)
    if field == OCCUPANCY:
        return replace(density, values=_occupancy(density), n_electrons=float(len(density.numbers)), superposition=None)
    if density.superposition is None:
        mend = "Set dft.<engine>.superposition so that the densities are stored with it"
        raise InputError(source, f"holds no superposition of atoms, which the field {field!r} needs", mend)
    if field == SUPERPOSITION:
        return replace(density, values=density.superposition, kind=SUPERPOSITION, superposition=None)
    values = density.values.astype(np.float64) - density.superposition
    return replace(density, values=values, n_electrons=0.0, superposition=None)


def _occupancy(density: Density) -> np.ndarray:
    """Σ over atoms and lattice of a normalised Gaussian, summed in Fourier space."""
    shape = density.values.shape
    wave = wave_vectors(density.lattice, shape)
    spectrum = np.zeros(wave.shape[1:], dtype=np.complex128)
    for position in density.frac_coords @ density.lattice:
        spectrum += np.exp(-1j * np.einsum("i,ixyz->xyz", position, wave))
    spectrum *= np.exp(-0.5 * BLUR_ANG**2 * np.einsum("ixyz,ixyz->xyz", wave, wave))
    return fft.irfftn(spectrum, shape) * (np.prod(shape) / density.volume_ang3)
