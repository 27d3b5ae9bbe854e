"""Features and predictions that do not depend on how the crystal lies: averages over orientations and origins.

A window of the density turns with the crystal and is centred on the origin of its cell; a convolutional network
sees both. The mean prediction over the 24 rotations of the window, centred on each atom of one element in turn, is
the same for a rotated crystal, another origin or a supercell. The fingerprint of a density feels where the points of
its grid lie relative to the atoms; its mean over grids with one of these atoms at their origin does not.
"""

import numpy as np
import torch
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from rho2prop.density import Density
from rho2prop.descriptors import SYMMETRY_TOLERANCE_ANG
from rho2prop.fingerprint import fingerprint
from rho2prop.grids import to_grid
from rho2prop.models.autoencoder import Autoencoder
from rho2prop.structures import structure_from_density
from rho2prop.transformations import ROTATIONS, shifted


def centres(density: Density) -> np.ndarray:
    """Fractional coordinates of the atoms that windows are centred on, shape (n, 3).

    All atoms of the element that is rarest in the crystal (of several the heaviest), one of each set that lattice
    translations of the primitive cell make equal: the same points of the crystal for each of its descriptions.
    """
    found, counts = np.unique(density.numbers, return_counts=True)
    element = max(zip(-counts, found, strict=True))[1]
    structure = structure_from_density(density)
    dataset = SpacegroupAnalyzer(structure, symprec=SYMMETRY_TOLERANCE_ANG).get_symmetry_dataset()
    chosen = np.flatnonzero(density.numbers == element)
    _, first = np.unique(np.asarray(dataset.mapping_to_primitive)[chosen], return_index=True)
    return density.frac_coords[chosen[np.sort(first)]]


def centred_fingerprint(density: Density) -> dict[str, float]:
    """Mean of ``rho2prop.fingerprint.fingerprint`` over grids that have an atom of ``centres`` at their origin."""
    found = [fingerprint(shifted(density, -centre)) for centre in centres(density)]
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]}


@torch.no_grad()
def oriented_latents(model: Autoencoder, density: Density, grid: dict) -> np.ndarray:
    """Latents of all centred and turned windows of a density, float32, shape (24 n, 16, s, s, s).

    Parameters
    ----------
    model
        Trained autoencoder.
    density
        Any density.
    grid
        Section ``grid`` of the configuration, of kind ``window``.
    """
    latents = []
    for centre in centres(density):
        window = to_grid(shifted(density, -centre), grid["kind"], grid["size"], grid["voxel_ang"])
        for rotation in ROTATIONS:
            turned = torch.from_numpy(_turn(window, rotation))[None, None]
            latents.append(model.encoder(turned)[0].numpy())
    return np.stack(latents)


def _turn(window: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """The window of the rotated crystal: the origin lies in the middle of the array."""
    order = np.abs(rotation).argmax(axis=1)
    turned = window.transpose(order)
    flipped = tuple(np.flatnonzero(rotation[range(3), order] < 0))
    return np.ascontiguousarray(np.flip(turned, flipped))
