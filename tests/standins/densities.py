"""Densities that the tests build themselves: small, exact and different in each direction."""

import numpy as np

from rho2prop.densities.density import Density

TRICLINIC_ANG = np.array([[3.2, 0.1, 0.0], [-0.9, 3.7, 0.2], [0.4, 0.6, 4.1]])


def gaussian_density(lattice=TRICLINIC_ANG, shape=(20, 24, 27), origins=((0.1, 0.2, 0.3), (0.6, 0.55, 0.8))):
    """Two periodic Gaussian atoms of 3 and 5 electrons on a weak background, normalised on the grid."""
    fractions = np.stack(np.meshgrid(*[np.arange(n) / n for n in shape], indexing="ij"), axis=-1)
    values = np.full(shape, 0.02)
    for centre, electrons, width_ang in zip(origins, (3.0, 5.0), (0.45, 0.6), strict=True):
        for image in np.ndindex(3, 3, 3):
            distance = (fractions - centre + np.array(image) - 1) @ lattice
            exponent = -np.sum(distance**2, axis=-1) / (2 * width_ang**2)
            values += electrons * np.exp(exponent) / (2 * np.pi * width_ang**2) ** 1.5
    volume_ang3 = abs(np.linalg.det(lattice))
    values *= 8.0 / (values.mean() * volume_ang3)
    return Density(values, lattice, np.array([3, 5]), np.array(origins), 8.0, "valence", "test 1.0")
