"""Interface of all engines.

An engine is a module of this package with the functions of ``Engine``. ``compute`` writes inputs, runs and
reads, returns a ``Calculation`` and raises ``EngineError`` (or ``InputError``) where the material gives no density to
be trusted; ``rho2prop.dft.failures`` says what becomes of this and of any other exception. What an engine leaves in its
working folder becomes the material's result folder.
"""

import importlib
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from pymatgen.core import Element, Lattice, Structure
from threadpoolctl import threadpool_limits

from rho2prop import __version__
from rho2prop.core.atomic_files import atomic
from rho2prop.core.errors import InputError
from rho2prop.core.packages import how_to_install
from rho2prop.core.settings import read_section
from rho2prop.crystals.structures import read_structure
from rho2prop.densities.density import Density, write_npz
from rho2prop.dft.failures import EngineError, SetupError, job_failure, job_failures
from rho2prop.dft.outcome import Outcome
from rho2prop.dft.registry import ENGINES, EXTRAS

BOX_STRETCH = (1.0, 1.05, 1.1)  # unequal edges: the box must not impose a cubic field on an open shell


@dataclass(frozen=True)
class Resources:
    """Resources of one calculation on this machine; they change no result.

    Parameters
    ----------
    threads
        Cores or ranks that the engine may use.
    scratch
        Folder that outlives an attempt, for an engine that can restart; it is deleted once there is an outcome.
    deadline_s
        When the scheduler ends the job, as ``time.time()`` counts, or None.
    """

    threads: int = 1
    scratch: Path | None = None
    deadline_s: float | None = None


@dataclass(frozen=True)
class Task:
    """Task of an engine: one material, or one free atom in a box.

    Parameters
    ----------
    material_id
        Id of the material, or symbol of the atom.
    structure
        Its crystal, or the atom in its box.
    density_path
        Density from the user (engine "files"), or None.
    resources
        What the engine may use.
    """

    material_id: str
    structure: Structure
    density_path: Path | str | None = None
    resources: Resources = Resources()


@dataclass(frozen=True)
class Calculation:
    """Result of an engine.

    Parameters
    ----------
    density
        The converged density; None only for a free atom.
    energy_ev
        Energy of the cell in eV on the engine's own scale.
    corrections
        What was changed to make it converge, one short line each.
    protocol_changes
        Those of them that change what the result means ("ISMEAR -5 → 0").
    magnetic_moment_mub
        Total moment of the cell in μB where the run was spin-polarised.
    engine_version
        Version of the program, where only its output states it.
    """

    density: Density | None
    energy_ev: float | None = None
    corrections: list[str] = field(default_factory=list)
    protocol_changes: list[str] = field(default_factory=list)
    magnetic_moment_mub: float | None = None
    engine_version: str | None = None


class Engine(Protocol):
    """The names of an engine module; ``compute_atom`` only where it can compute free atoms.

    ``settings`` is an instance of the module's own ``Settings``.
    """

    Settings: type

    def version(self, settings: Any) -> str:
        """Version of the program, or of the library that reads."""
        ...

    def compute(self, task: Task, settings: Any, work_dir: Path) -> Calculation:
        """Compute or read the density of one material; small files to keep go to ``work_dir``."""
        ...

    def compute_atom(self, task: Task, settings: Any, work_dir: Path) -> Calculation:
        """Energy of one free atom: spin-polarised, occupied by Hund's rules."""
        ...


def load_engine(name: str) -> Engine:
    """Import the engine ``name``; only the engine that is asked for is imported."""
    if name not in ENGINES:
        raise InputError("dft.engine", f"unknown engine {name!r}", f"Set it to one of {', '.join(ENGINES)}")
    try:
        return cast(Engine, importlib.import_module(ENGINES[name]))
    except ImportError as error:
        fix = f"Install it ({how_to_install(EXTRAS[name])}), or choose another engine"
        raise SetupError("dft.engine", f"{name} cannot be imported ({error})", fix) from error


def engine_settings(name: str, section: Mapping[str, Any], machine: Mapping[str, Any] | None = None) -> Any:
    """Settings of an engine, an instance of its ``Settings``.

    Parameters
    ----------
    name
        Name of the engine, a key of ``ENGINES``.
    section
        Its section of the configuration, ``dft.<name>``.
    machine
        Section ``machine`` in it, where the workflow keeps that apart.

    Raises
    ------
    InputError
        A key is unknown or missing.
    """
    content = {**section, "machine": machine} if machine else section
    return read_section(load_engine(name).Settings, content, f"dft.{name}")


def atom_in_box(symbol: str, box_ang: float) -> Structure:
    """One atom in the middle of an orthorhombic box whose shortest edge is ``box_ang``, in Å."""
    return Structure(
        Lattice(np.diag([box_ang * stretch for stretch in BOX_STRETCH])), [Element(symbol)], [[0.5, 0.5, 0.5]]
    )


def run_material(
    material_id: str,
    structure_path: Path | str,
    density_path: Path | str | None,
    engine: str,
    settings: Any,
    out_dir: Path | str,
    resources: Resources = Resources(),
) -> Outcome:
    """Get the density of one material and write its folder, whole or not at all.

    Parameters
    ----------
    material_id
        Id of the material.
    structure_path
        CIF, POSCAR or pymatgen JSON.
    density_path
        Density from the user (engine "files"), or None.
    engine
        Name of the engine, a key of ``ENGINES``.
    settings
        Settings of the engine (``engine_settings``).
    out_dir
        Folder for ``outcome.json``, the engine's log and, only if converged, ``density.npz``.
    resources
        What the calculation may use.

    Returns
    -------
    Outcome
        A material that cannot be read, computed or converged gives a failed outcome, not an exception.

    Raises
    ------
    Unfinished
        No outcome is written, because the fault is not the material's (memory, disk, network, time limit, a killed
        child, set-up): the next attempt resumes from ``scratch``. Any other exception is a bug and leaves no outcome
        either.
    """
    module = load_engine(engine)

    def calculate(folder: Path) -> Calculation:
        structure = read_structure(structure_path)
        calculation = module.compute(Task(material_id, structure, density_path, resources), settings, folder)
        if calculation.density is None:
            raise TypeError(f"engine {engine} returned no density of {material_id}")
        write_npz(calculation.density, folder / "density.npz")
        return calculation

    return _recorded(material_id, engine, module, settings, calculate, out_dir, resources)


def run_atom(
    symbol: str, engine: str, settings: Any, out_dir: Path | str, resources: Resources = Resources()
) -> Outcome:
    """Compute a free atom in a box of ``settings.atom_box_ang`` and write its folder, as ``run_material`` does.

    Raises
    ------
    InputError
        The engine computes no atoms.
    Unfinished
        As in ``run_material``.
    """
    module = load_engine(engine)
    if not hasattr(module, "compute_atom"):
        fix = "Set dft.atomization_energy to table, or choose another engine"
        raise InputError("dft.atomization_energy", f"engine {engine} computes no free atoms", fix)

    def calculate(folder: Path) -> Calculation:
        box = atom_in_box(symbol, settings.atom_box_ang)
        return module.compute_atom(Task(symbol, box, resources=resources), settings, folder)

    return _recorded(symbol, engine, module, settings, calculate, out_dir, resources)


def _recorded(
    name: str,
    engine: str,
    module: Engine,
    settings: Any,
    calculate: Callable[[Path], Calculation],
    out_dir: Path | str,
    resources: Resources,
) -> Outcome:
    """Run ``calculate`` in a folder that appears as ``out_dir`` with its outcome, or not at all."""
    start = time.perf_counter()
    reason, calculation, failure = "", None, None
    with job_failures(name, engine), atomic(out_dir) as folder:
        engine_version = module.version(settings)
        folder.mkdir()
        try:
            with threadpool_limits(limits=resources.threads):
                calculation = calculate(folder)
        except (EngineError, InputError) as error:
            if job_failure(error, name) is not None:
                raise
            failure, reason = error, _one_line(str(error))
            (folder / "density.npz").unlink(missing_ok=True)
        density = calculation.density if calculation else None
        wall_time_s = time.perf_counter() - start
        tried = calculation or failure
        outcome = Outcome(
            material_id=name,
            status="converged" if calculation else "failed",
            reason=reason,
            corrections=list(getattr(tried, "corrections", [])),
            energy_ev=calculation.energy_ev if calculation else None,
            n_electrons=density.n_electrons if density else None,
            grid=density.values.shape if density else None,
            wall_time_s=round(wall_time_s, 3),
            core_hours=round(wall_time_s * resources.threads / 3600, 6),
            engine=engine,
            engine_version=(calculation.engine_version if calculation else None) or engine_version,
            code_version=__version__,
            protocol_changes=list(getattr(tried, "protocol_changes", [])),
            magnetic_moment_mub=calculation.magnetic_moment_mub if calculation else None,
        )
        (folder / "outcome.json").write_text(outcome.to_json(), encoding="utf-8")
    scratch = resources.scratch
    if scratch is not None and scratch.exists() and not getattr(failure, "resumable", False):
        shutil.rmtree(scratch)
    return outcome


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500] or "no reason given"
