"""Fields of a material that features are made of: the density and the fields it is compared with.

``total``: the self-consistent density. ``promolecule``: superposition of atomic densities (SAD), known before any
self-consistency. ``deformation``: deformation density, total − promolecule: the charge that bonding moves (the Δ-SAED
of arXiv:2510.00788). ``atom_positions``: one equal Gaussian at each atom, geometry without species or electrons. A
block is named after its field (``deformation_latent``), blocks of the total density without it (``latent``).
"""

from dataclasses import replace

import numpy as np
from scipy import fft

from rho2prop.core.errors import InputError
from rho2prop.densities.density import Density
from rho2prop.densities.field_names import ATOM_POSITIONS, FIELDS, PROMOLECULE, TOTAL
from rho2prop.densities.fourier import wave_vectors

BLUR_ANG = 0.5  # standard deviation of the Gaussian at each atom


def take_field(density: Density, field: str, source: str = "density") -> Density:
    """One field of a material as a density of its own, on the same grid.

    Parameters
    ----------
    density
        A density; of a self-consistent one ``promolecule`` and ``deformation`` need its promolecule.
    field
        One of ``rho2prop.densities.field_names.FIELDS``.
    source
        Name for messages.

    Returns
    -------
    Density
        e/Å³ (``atom_positions``: atoms/Å³). Its ``n_electrons`` is what it integrates to: 0 for the deformation
        density, the number of atoms for the atom positions.

    Raises
    ------
    InputError
        No promolecule is stored, or the deformation density of a promolecule is asked for.
    """
    if field == TOTAL:
        return replace(density, promolecule=None)
    if field == ATOM_POSITIONS:
        n_atoms = float(len(density.numbers))
        return replace(density, values=_atom_positions(density), n_electrons=n_atoms, promolecule=None)
    if field not in FIELDS:
        raise ValueError(f"unknown field {field!r}; use one of {', '.join(FIELDS)}")
    if density.kind == PROMOLECULE:
        if field == PROMOLECULE:
            return replace(density, promolecule=None)
        fix = "Leave out features of the deformation density"
        raise InputError(source, "is itself a promolecule: its deformation density is zero everywhere", fix)
    if density.promolecule is None:
        fix = "Set dft.<engine>.promolecule so that the promolecule is stored with each density"
        raise InputError(source, f"holds no promolecule, which the field {field!r} needs", fix)
    if field == PROMOLECULE:
        return replace(density, values=density.promolecule, kind=PROMOLECULE, promolecule=None)
    values = density.values.astype(np.float64) - density.promolecule
    return replace(density, values=values, n_electrons=0.0, promolecule=None)


def _atom_positions(density: Density) -> np.ndarray:
    """Σ over atoms and lattice of a normalised Gaussian in atoms/Å³, summed in Fourier space."""
    shape = density.values.shape
    frequencies = [fft.fftfreq(n_points, 1 / n_points) for n_points in shape[:2]] + [
        fft.rfftfreq(shape[2], 1 / shape[2])
    ]
    # exp(−i G·r) is a product over the axes: matrix products instead of an exponential for each atom and wave
    first, second, third = (
        np.exp(-2j * np.pi * np.outer(coords, waves))
        for coords, waves in zip(density.frac_coords.T, frequencies, strict=True)
    )
    spectrum = np.stack([(phases[:, None] * second).T @ third for phases in first.T])
    wave = wave_vectors(density.lattice, shape)
    spectrum *= np.exp(-0.5 * BLUR_ANG**2 * np.einsum("ixyz,ixyz->xyz", wave, wave))
    return fft.irfftn(spectrum, shape) * (np.prod(shape) / density.volume_ang3)
