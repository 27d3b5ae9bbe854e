"""Parts of the section on DFT: corrections, protocol changes, free atoms."""

from typing import Any

import pandas as pd

from rho2prop.report.blocks import Row, Table, Text
from rho2prop.report.data import Run
from rho2prop.report.numbers import DASH, count, decimals, duration, significant

# A longer list belongs in the CSV, not on a page.
MAX_ROWS = 200


def corrections(outcomes: pd.DataFrame) -> list:
    """Corrections that made materials converge; protocol changes come first and are flagged."""
    flagged, corrected = _flags(outcomes)
    if not corrected.any():
        return [Text("Corrections: none; every run followed the protocol.")]
    blocks: list = [
        Text(
            f"{count(int(corrected.sum()), 'run')} of {len(outcomes):,} needed corrections; {int(flagged.sum()):,} of "
            "these changed the protocol."
        )
    ]
    if flagged.any():
        blocks.append(Text(_warning(outcomes[flagged], "material"), "note"))
    shown = (
        outcomes[corrected].assign(flagged=flagged[corrected]).sort_values("flagged", ascending=False, kind="stable")
    )
    blocks.append(
        Table(
            "Corrections; those that changed the protocol first" + cut(len(shown), "results/outcomes.csv"),
            ("material", "status", "corrections", "protocol changed"),
            tuple(
                Row((row.material_id, row.status, row.corrections or DASH, _flag(row)), _bold(row, 3))
                for row in shown.head(MAX_ROWS).itertuples()
            ),
            n_text=4,
        )
    )
    return blocks


def atoms(run: Run) -> list:
    """Free atoms of the atomization energies; nothing where the table has the energies."""
    table = run.atoms
    if table is None or table.empty:
        return []
    flagged, corrected = _flags(table)
    converged = table["status"] == "converged"
    blocks: list = [
        Text(
            "Atomization energies: energies of the free atoms, each computed once with the engine of the materials: "
            "spin-polarised, occupied by Hund's rules, in a box with unequal edges. "
            f"{count(len(table), 'atom')}: {int(converged.sum()):,} converged, {int(corrected.sum()):,} with "
            f"corrections; {significant(table['core_hours'].sum())} core hours in all."
        )
    ]
    if flagged.any():
        blocks.append(Text(_warning(table[flagged], "element"), "note"))
    if not converged.all():
        failed = ", ".join(f"{row.material_id} ({row.reason})" for row in table[~converged].itertuples())
        blocks.append(
            Text(f"No atomization energy for materials with an element whose atom failed: {failed}.", "missing")
        )
    rows = [
        Row(
            (
                row.material_id,
                row.status,
                row.corrections or DASH,
                _flag(row),
                decimals(row.energy_ev, 3),
                decimals(row.magnetic_moment_mub, 2),
                duration(row.wall_time_s),
                significant(row.core_hours),
            ),
            _bold(row, 3),
        )
        for row in table.assign(flagged=flagged).itertuples()
    ]
    columns = ("element", "status", "corrections", "protocol changed")
    numbers = ("energy / eV", "moment / μB", "wall time", "core hours")
    caption = "Free atoms; energies on the engine's own scale."
    return [*blocks, Table(caption, (*columns, *numbers), tuple(rows), n_text=len(columns))]


def cut(n_rows: int, path: str) -> str:
    """End of a caption: a full stop, or how many rows are shown and where all are."""
    return "." if n_rows <= MAX_ROWS else f"; the first {MAX_ROWS} of {n_rows:,}, all in {path}."


def _flags(outcomes: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Rows with a change of the protocol, and rows with any correction."""
    flagged = outcomes["protocol_changes"].str.strip().ne("")
    return flagged, flagged | ~outcomes["corrections"].str.strip().isin(["", "[]"])


def _flag(row: Any) -> str:
    return f"⚠ {row.protocol_changes}" if row.flagged else "no"


def _bold(row: Any, column: int) -> frozenset[int]:
    return frozenset({column}) if row.flagged else frozenset()


def _warning(flagged: pd.DataFrame, noun: str) -> str:
    names = ", ".join(flagged["material_id"].head(20)) + (" and others" if len(flagged) > 20 else "")
    return (
        f"⚠ Protocol changed for {count(len(flagged), noun)}: {names}. Their results are not strictly comparable "
        "with the others."
    )
