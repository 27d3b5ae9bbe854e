"""Engine "atoms": the promolecule of GPAW's free atoms as the density of a crystal, without self-consistency."""

from dataclasses import dataclass
from pathlib import Path

from rho2prop.dft.base import Calculation, Task
from rho2prop.dft.gpaw.engine import atoms_density, version

__all__ = ["Settings", "compute", "version"]  # of an engine; the version is GPAW's


@dataclass(frozen=True)
class AtomsSettings:
    """Section ``dft.atoms`` of the configuration.

    Parameters
    ----------
    xc
        Exchange-correlation functional of the free atoms by GPAW's name, for example ``PBE``.
    ecut_ev
        Plane-wave cut-off in eV, which gives the grid as it does for the engine ``gpaw``.
    """

    xc: str
    ecut_ev: float


Settings = AtomsSettings


def compute(task: Task, settings: AtomsSettings, work_dir: Path) -> Calculation:
    """Superpose the free atoms at the sites of the structure: a density of kind ``promolecule``, and no energy.

    Parameters
    ----------
    task
        Material.
    settings
        Settings of the engine.
    work_dir
        Not used.
    """
    return Calculation(atoms_density(task.structure, settings.ecut_ev, settings.xc))
