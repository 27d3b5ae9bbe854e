"""Engine "files": densities that the user has."""

from pathlib import Path

from rho2prop import __version__
from rho2prop.densities.readers import read_density
from rho2prop.dft.base import Calculation, Task, load_engine
from rho2prop.dft.failures import EngineError


def version(settings: dict) -> str:
    """Version of the readers, which are this package's."""
    return __version__


def compute(task: Task, settings: dict, work_dir: Path) -> Calculation:
    """Read the density file of the material and check that it belongs to its structure.

    Parameters
    ----------
    task
        Material with its ``density_path``.
    settings
        Section ``dft.files`` of the configuration: ``kind``, and ``promolecule``: ``as_given`` (what the file
        holds) or ``gpaw`` (of GPAW's atoms, for densities that GPAW computed without it).
    work_dir
        Not used: nothing is run.
    """
    if task.density_path is None:
        raise EngineError(f"{task.material_id} has no density: fill in the column density of the materials table")
    density = read_density(task.density_path, settings["kind"], task.structure)
    if settings["promolecule"] == "gpaw" and density.promolecule is None:
        gpaw = load_engine("gpaw")  # only where it is asked for
        density = gpaw.with_promolecule(density, settings["ecut_ev"], settings["xc"])
    # a charged cell is not what the protocol asks for: the record and the report say so
    return Calculation(density, corrections=[*density.remarks], protocol_changes=[*density.remarks])
