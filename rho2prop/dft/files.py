"""Engine "files": densities from the user."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rho2prop import __version__
from rho2prop.densities.readers import read_density
from rho2prop.dft.base import Calculation, Task, load_engine
from rho2prop.dft.failures import EngineError, SetupError


@dataclass(frozen=True)
class FilesSettings:
    """Section ``dft.files`` of the configuration.

    Parameters
    ----------
    kind
        What the files hold: ``valence``, ``promolecule`` or ``all_electron``.
    promolecule
        Source of the promolecule: ``as_given`` (the file itself) or ``gpaw`` (GPAW's atoms, for
        densities that GPAW computed without it).
    xc, ecut_ev
        Functional and plane-wave cut-off in eV that those densities were computed with, from ``dft.gpaw``.
    """

    kind: Literal["valence", "promolecule", "all_electron"]
    promolecule: Literal["as_given", "gpaw"]
    xc: str | None = None
    ecut_ev: float | None = None


Settings = FilesSettings


def version(settings: FilesSettings) -> str:
    """Version of this package, which reads the files."""
    return __version__


def compute(task: Task, settings: FilesSettings, work_dir: Path) -> Calculation:
    """Read the density file of the material and check that it belongs to its structure.

    Parameters
    ----------
    task
        Material with its ``density_path``.
    settings
        What the file holds.
    work_dir
        Not used.
    """
    if task.density_path is None:
        raise EngineError(f"{task.material_id} has no density: fill in the column density of the materials table")
    density = read_density(task.density_path, settings.kind, task.structure)
    if settings.promolecule == "gpaw" and density.promolecule is None:
        if settings.xc is None or settings.ecut_ev is None:
            raise SetupError(
                "dft.files.promolecule", "is gpaw, but xc or ecut_ev is not given", "Take those of dft.gpaw"
            )
        gpaw: Any = load_engine("gpaw")  # only where it is asked for
        density = gpaw.with_promolecule(density, settings.ecut_ev, settings.xc)
    # a charged cell is not what the protocol asks for: the record and the report say so
    return Calculation(density, corrections=[*density.remarks], protocol_changes=[*density.remarks])
