"""One interface to every source of densities, and the record that each run leaves.

An engine is a module of this package with the functions ``version()`` and ``compute(task, settings,
work_dir)``. ``compute`` writes inputs, runs and reads in ``work_dir``, returns a ``Calculation`` and raises
``EngineError`` (or ``InputError``) where there is no density to be trusted.
"""

import importlib
import json
import os
import time
import traceback
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Protocol

import pandas as pd
from pymatgen.core import Structure
from threadpoolctl import threadpool_limits

from rho2prop import __version__
from rho2prop.atomic import atomic
from rho2prop.density import Density, write_npz
from rho2prop.errors import InputError
from rho2prop.structures import read_structure

ENGINES = {"gpaw": "rho2prop.dft.gpaw", "files": "rho2prop.dft.files"}
SHOWN_FAILURES = 5
COLUMNS = [
    "material_id",
    "status",
    "reason",
    "engine",
    "engine_version",
    "energy_ev",
    "n_electrons",
    "grid",
    "wall_time_s",
    "core_hours",
    "corrections",
]


class EngineError(Exception):
    """An engine could not give a converged density; the text is the reason, in one line."""


@dataclass(frozen=True)
class Task:
    """What an engine is asked for: one material."""

    material_id: str
    structure: Structure
    density_path: str | None = None
    threads: int = 1


@dataclass(frozen=True)
class Calculation:
    """What an engine gives back; ``corrections`` are changes of the protocol that convergence took."""

    density: Density
    energy_ev: float | None = None
    corrections: list[str] = field(default_factory=list)


class Engine(Protocol):
    """The two functions of an engine module."""

    def version(self) -> str:
        """Version of the program, or of the library that reads."""

    def compute(self, task: Task, settings: dict, work_dir: Path) -> Calculation:
        """Compute or read the density of one material, with all files of the run in ``work_dir``."""


@dataclass(frozen=True)
class Outcome:
    """Record of one DFT run, converged or not.

    Parameters
    ----------
    material_id
        Id of the material.
    status
        "converged" or "failed".
    reason
        Why it failed, one line; empty if it converged.
    corrections
        Changes of the protocol that were needed.
    energy_ev
        Energy of the cell in eV on the engine's own scale, or None.
    n_electrons
        Electrons that the density holds, or None.
    grid
        Points of the density's grid, or None.
    wall_time_s, core_hours
        Cost of the run.
    engine, engine_version, code_version
        Who computed it.
    """

    material_id: str
    status: str
    reason: str
    corrections: list[str]
    energy_ev: float | None
    n_electrons: float | None
    grid: tuple[int, int, int] | None
    wall_time_s: float
    core_hours: float
    engine: str
    engine_version: str
    code_version: str

    def to_json(self) -> str:
        """The record as JSON text."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, source: Path | str) -> "Outcome":
        """Read a record from JSON text; ``source`` is named in errors."""
        mend = "Delete its folder and let the workflow compute it again"
        try:
            content = json.loads(text)
            if set(content) != {f.name for f in fields(cls)}:
                raise ValueError("its keys are not those of an outcome")
            grid = None if content["grid"] is None else tuple(content["grid"])
        except (ValueError, TypeError) as error:
            raise InputError(source, f"cannot be read as an outcome ({error})", mend) from error
        if content["status"] not in ("converged", "failed"):
            problem = f"has status {content['status']!r}, expected converged or failed"
            raise InputError(source, problem, mend)
        return cls(**{**content, "grid": grid})


def load_engine(name: str) -> Engine:
    """Import the engine ``name``; only the engine that is asked for is imported."""
    if name not in ENGINES:
        raise InputError("dft.engine", f"unknown engine {name!r}", f"Set it to one of {', '.join(ENGINES)}")
    try:
        return importlib.import_module(ENGINES[name])
    except ImportError as error:
        mend = f"Install {name} in the environment of this run, or choose another engine"
        raise InputError("dft.engine", f"{name} cannot be imported ({error})", mend) from error


def run_material(
    material_id: str,
    structure_path: Path | str,
    density_path: str | None,
    engine: str,
    settings: dict,
    out_dir: Path | str,
    threads: int = 1,
) -> Outcome:
    """Get the density of one material and write its folder, whole or not at all.

    Parameters
    ----------
    material_id
        Id of the material.
    structure_path
        CIF, POSCAR or pymatgen JSON.
    density_path
        Density that the user has (engine "files"), or None.
    engine
        Name of the engine, a key of ``ENGINES``.
    settings
        The engine's own section of the configuration.
    out_dir
        Folder for ``outcome.json``, the engine's log and, only if converged, ``density.npz``.
    threads
        Threads that the engine may use.

    Returns
    -------
    Outcome
        A material that cannot be read, computed or converged gives a failed outcome, not an exception.
    """
    module = load_engine(engine)
    engine_version = module.version()
    start = time.perf_counter()
    status, reason, calculation = "failed", "", None
    with atomic(out_dir) as folder:
        folder.mkdir()
        try:
            task = Task(material_id, read_structure(structure_path), density_path, threads)
            with threadpool_limits(limits=threads):
                calculation = module.compute(task, settings, folder)
            write_npz(calculation.density, folder / "density.npz")
            status = "converged"
        except (EngineError, InputError) as error:
            reason = _one_line(str(error))
        except Exception as error:  # an engine may raise anything; the chain must go on without this material
            reason = _one_line(f"{type(error).__name__}: {error}")
            (folder / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
        wall_time_s = time.perf_counter() - start
        converged = calculation if status == "converged" else None
        outcome = Outcome(
            material_id=material_id,
            status=status,
            reason=reason,
            corrections=list(calculation.corrections) if calculation else [],
            energy_ev=converged.energy_ev if converged else None,
            n_electrons=converged.density.n_electrons if converged else None,
            grid=converged.density.values.shape if converged else None,
            wall_time_s=round(wall_time_s, 3),
            core_hours=round(wall_time_s * threads / 3600, 6),
            engine=engine,
            engine_version=engine_version,
            code_version=__version__,
        )
        (folder / "outcome.json").write_text(outcome.to_json(), encoding="utf-8")
    return outcome


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500] or "no reason given"


def read_outcome(folder: Path | str) -> Outcome:
    """The record in a folder that ``run_material`` wrote."""
    path = Path(folder) / "outcome.json"
    mend = "Delete its folder and let the workflow compute it again"
    if not path.is_file():
        raise InputError(path, "there is no such outcome", mend)
    outcome = Outcome.from_json(path.read_text(encoding="utf-8"), path)
    if outcome.status == "converged" and not (path.parent / "density.npz").is_file():
        raise InputError(path, "is converged, but there is no density.npz beside it", mend)
    return outcome


def collect(outcomes: dict[str, str | os.PathLike]) -> pd.DataFrame:
    """Gather outcomes into one table.

    Parameters
    ----------
    outcomes
        Folder of each material, by id.

    Returns
    -------
    pd.DataFrame
        One row per material, columns ``COLUMNS``; the grid as "48x48x60", corrections joined by "; ".
    """
    rows = []
    for material_id, folder in outcomes.items():
        outcome = read_outcome(folder)
        if outcome.material_id != material_id:
            problem = f"is the outcome of {outcome.material_id}, expected {material_id}"
            raise InputError(folder, problem, "Delete the folder and let the workflow compute it again")
        grid = "x".join(str(n) for n in outcome.grid) if outcome.grid else ""
        row = {**asdict(outcome), "grid": grid, "corrections": "; ".join(outcome.corrections)}
        rows.append({name: row[name] for name in COLUMNS})
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return frame.astype({"energy_ev": float, "n_electrons": float})


def require_fraction(frame: pd.DataFrame, min_fraction: float) -> None:
    """Raise InputError, with the first failures, unless at least ``min_fraction`` of the runs converged."""
    failures = frame[frame["status"] != "converged"]
    n_converged = len(frame) - len(failures)
    if n_converged > 0 and n_converged >= min_fraction * len(frame):
        return
    shown = "; ".join(f"{row.material_id}: {row.reason}" for row in failures.head(SHOWN_FAILURES).itertuples())
    more = f" and {len(failures) - SHOWN_FAILURES} more" if len(failures) > SHOWN_FAILURES else ""
    problem = (
        f"only {n_converged} of {len(frame)} materials converged, dft.min_converged_fraction asks for "
        f"{min_fraction:.0%} ({shown}{more})"
    )
    mend = "Mend or remove these materials, or lower dft.min_converged_fraction"
    raise InputError("results/dft_outcomes.csv", problem, mend)
