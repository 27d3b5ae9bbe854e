"""Settings of the engine GPAW; imports nothing of it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class GpawSettings:
    """Section ``dft.gpaw`` of the configuration.

    Parameters
    ----------
    xc
        Exchange-correlation functional by GPAW's name, for example ``PBE``.
    ecut_ev
        Plane-wave cut-off in eV.
    k_spacing_per_ang
        Largest distance of k-points in 1/Å, with the factor 2π.
    smearing_ev
        Width of the Fermi-Dirac distribution in eV.
    spin
        ``auto`` (polarised with Cr, Mn, Fe, Co or Ni, and for elemental oxygen), ``none`` or ``polarised``.
    max_iterations
        Most steps of the self-consistency cycle.
    promolecule
        Also store the superposition of atomic densities.
    atom_box_ang
        Shortest edge of a free atom's box in Å.
    """

    xc: str
    ecut_ev: float
    k_spacing_per_ang: float
    smearing_ev: float
    spin: Literal["auto", "none", "polarised"]
    max_iterations: int
    promolecule: bool
    atom_box_ang: float
