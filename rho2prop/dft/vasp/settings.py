"""Settings of the engine VASP."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class VaspMachine:
    """Section ``dft.vasp.machine`` of the configuration: how VASP is started here; changes no result.

    Parameters
    ----------
    ranks
        MPI ranks of a run.
    launch
        What starts an MPI program, ``{threads}`` being the ranks; empty: the binary alone.
    binary
        Name or path of VASP.
    atom_binary
        The same for free atoms (Γ only); empty: ``binary``.
    parallel
        INCAR tags of parallelisation, for example ``{NCORE: 4, KPAR: 2}``.
    polling_s
        Seconds between custodian's looks at a running step.
    walltime_margin_s
        Seconds before the end of the job at which VASP is asked to stop.
    """

    ranks: int
    launch: str
    binary: str
    atom_binary: str
    parallel: Mapping[str, int | bool | str]
    polling_s: float
    walltime_margin_s: float


@dataclass(frozen=True)
class VaspSettings:
    """Section ``dft.vasp`` of the configuration.

    Parameters
    ----------
    preset
        Name of a shipped protocol or path of a YAML file.
    relax
        Relax cell and ions before the density is computed.
    promolecule
        Also store the superposition of atomic densities, from AECCAR1 and AECCAR2.
    spin
        Starting moments: ``materials_project`` (its MAGMOMs, ISPIN 2) or ``none`` (ISPIN 1).
    max_errors
        Corrections by custodian before a material is set aside.
    max_walltime_stops
        Attempts that may end at the time limit before a material is set aside.
    atom_box_ang
        Shortest edge of a free atom's box in Å.
    machine
        How VASP is started.
    """

    preset: str
    relax: bool
    promolecule: bool
    spin: Literal["materials_project", "none"]
    max_errors: int
    max_walltime_stops: int
    atom_box_ang: float
    machine: VaspMachine
