"""Settings of GPAW that converge in seconds, and the lattice that most test crystals have."""

import numpy as np

from rho2prop.dft.gpaw.settings import GpawSettings

COARSE = GpawSettings(
    xc="PBE",
    ecut_ev=250,
    k_spacing_per_ang=1.1,
    smearing_ev=0.1,
    spin="auto",
    max_iterations=100,
    promolecule=False,
    atom_box_ang=6.0,
)
FCC = np.array([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])  # primitive vectors of edge 1
