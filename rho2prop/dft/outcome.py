"""Records of DFT runs, and the table of many records."""

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from rho2prop.core.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

SHOWN_FAILURES = 5
FIX = "Delete its folder and let the workflow compute it again"
COLUMNS = [
    "material_id",
    "status",
    "reason",
    "engine",
    "engine_version",
    "energy_ev",
    "atomization_energy_ev_per_atom",
    "magnetic_moment_mub",
    "n_electrons",
    "grid",
    "wall_time_s",
    "core_hours",
    "corrections",
    "protocol_changes",
]


@dataclass(frozen=True)
class Outcome:
    """Record of one DFT run, converged or not.

    Parameters
    ----------
    material_id
        Id of the material, or symbol of a free atom.
    status
        "converged" or "failed".
    reason
        Why it failed, one line; empty if it converged.
    corrections
        What was changed to make it converge.
    energy_ev
        Energy of the cell in eV on the engine's own scale, or None.
    n_electrons
        Electrons that the density holds, or None.
    grid
        Grid points of the density, or None.
    wall_time_s, core_hours
        Cost of the run (of its last attempt).
    engine, engine_version, code_version
        Engine, its version and the version of this package.
    protocol_changes
        Those of the corrections that change what the result means.
    magnetic_moment_mub
        Total moment of the cell in μB where the run was spin-polarised, else None.
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
    # added after the first release: records without them remain readable
    protocol_changes: list[str] = field(default_factory=list)
    magnetic_moment_mub: float | None = None

    def to_json(self) -> str:
        """The record as JSON text."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, source: Path | str) -> "Outcome":
        """Read a record from JSON text; ``source`` is named in errors."""
        known = {f.name for f in fields(cls)}
        required = {f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING}
        try:
            content = json.loads(text)
            if not required <= set(content) <= known:
                raise ValueError("its keys are not those of an outcome")
            grid = None if content["grid"] is None else tuple(content["grid"])
        except (ValueError, TypeError) as error:
            raise InputError(source, f"cannot be read as an outcome ({error})", FIX) from error
        if content["status"] not in ("converged", "failed"):
            raise InputError(source, f"has status {content['status']!r}, expected converged or failed", FIX)
        return cls(**{**content, "grid": grid})


def read_outcome(folder: Path | str, needs_density: bool = True) -> Outcome:
    """The record in a folder that ``run_material`` or (without density) ``run_atom`` wrote."""
    path = Path(folder) / "outcome.json"
    if not path.is_file():
        raise InputError(path, "there is no such outcome", FIX)
    outcome = Outcome.from_json(path.read_text(encoding="utf-8"), path)
    if needs_density and outcome.status == "converged" and not (path.parent / "density.npz").is_file():
        raise InputError(path, "is converged, but there is no density.npz beside it", FIX)
    return outcome


def collect(outcomes: Mapping[str, Path | str], needs_density: bool = True) -> "pd.DataFrame":
    """Gather outcomes into one table.

    Parameters
    ----------
    outcomes
        Folder of each material or atom, by id.
    needs_density
        Whether a converged outcome without a density is an error (free atoms have none).

    Returns
    -------
    pd.DataFrame
        One row per material, columns ``COLUMNS``; the grid as "48x48x60", lists joined by "; "; formation
        energies blank (``rho2prop.dft.atomization_energy`` fills them in).
    """
    rows = []
    for material_id, folder in outcomes.items():
        outcome = read_outcome(folder, needs_density)
        if outcome.material_id != material_id:
            raise InputError(folder, f"is the outcome of {outcome.material_id}, expected {material_id}", FIX)
        row = asdict(outcome) | {
            "grid": "x".join(str(n) for n in outcome.grid) if outcome.grid else "",
            "corrections": "; ".join(outcome.corrections),
            "protocol_changes": "; ".join(outcome.protocol_changes),
            "atomization_energy_ev_per_atom": None,
        }
        rows.append({name: row[name] for name in COLUMNS})
    import pandas as pd  # not needed, and slow to import, where one outcome is written

    frame = pd.DataFrame(rows, columns=COLUMNS)
    numbers = ("energy_ev", "atomization_energy_ev_per_atom", "magnetic_moment_mub", "n_electrons")
    return frame.astype(dict.fromkeys(numbers, float))


def require_fraction(frame: "pd.DataFrame", min_fraction: float) -> None:
    """Raise InputError, with the first failures, unless at least ``min_fraction`` of the runs converged."""
    if frame.empty:
        problem = "no material of the table has a label, so there is nothing to learn from"
        fix = "Fill in a label column (bulk_modulus_gpa, ...) of at least some rows of the materials table"
        raise InputError("materials", problem, fix)
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
    fix = "Fix or remove these materials, or lower dft.min_converged_fraction"
    raise InputError("results/dft_outcomes.csv", problem, fix)
