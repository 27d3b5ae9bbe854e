"""Sections on the input: materials, properties, DFT and its cost."""

import pandas as pd

from rho2prop.core.targets import TARGETS
from rho2prop.report.blocks import Figure, Row, Section, Table, Text
from rho2prop.report.data import Run
from rho2prop.report.figures import materials as material_figures
from rho2prop.report.numbers import count, decimals, duration, significant, span
from rho2prop.report.sections import protocol
from rho2prop.report.sections.cost import cost_of_steps
from rho2prop.report.sections.protocol import MAX_ROWS, cut


def materials(run: Run) -> Section:
    """Crystal systems, counts, elements."""
    section = Section("materials", "Materials")
    table = run.materials
    if table is None or table.empty:
        section.blocks.append(Text("No material has a converged density, so there is nothing to count.", "missing"))
        return section
    n_train = int((table["role"] == "train").sum())
    n_predict = int((table["role"] == "predict").sum())
    counts = material_figures.element_counts(table)
    section.blocks += [
        Text(
            f"{count(len(table), 'material')} with a converged density: {n_train:,} with at least one label (train) "
            f"and {n_predict:,} without (predict). They contain {count(len(counts), 'chemical element')} in "
            f"{count(table['formula'].nunique(), 'formula')} and "
            f"{count(table['chemical_system'].nunique(), 'chemical system')}; cells have "
            f"{span(table['n_sites'].min(), table['n_sites'].max())} atoms "
            f"(median {table['n_sites'].median():.0f})."
        ),
        Figure(
            "crystal-systems",
            material_figures.crystal_systems(table),
            "Number of materials in each crystal system (Fig. 2 of the paper).",
            "Bar chart of materials per crystal system: " + counts_text(table["crystal_system"]),
        ),
        Figure(
            "elements",
            material_figures.elements(table),
            "Number of materials that contain each chemical element; pale elements do not occur.",
            "Periodic table. Most frequent elements: "
            + ", ".join(f"{symbol} {number}" for symbol, number in counts.most_common(8)),
        ),
    ]
    return section


def counts_text(column: pd.Series) -> str:
    """``cubic 30, hexagonal 12``."""
    return ", ".join(f"{name} {number:,}" for name, number in column.value_counts().items())


def targets(run: Run) -> Section:
    """Distributions and statistics of the labels."""
    section = Section("targets", "Target properties")
    table = run.materials
    known = [] if table is None else [target for target in TARGETS if table[target].notna().any()]
    if table is None or not known:
        section.blocks.append(Text("No material has a label, so there is no distribution to show.", "missing"))
        return section
    rows = []
    for target in known:
        values = table[target].dropna()
        quartiles = values.quantile([0.25, 0.5, 0.75])
        numbers = (values.mean(), values.std(), values.min(), *quartiles, values.max())
        info = TARGETS[target]
        rows.append(
            Row(
                (
                    f"{info.name} {info.symbol} / {info.unit}",
                    f"{len(values):,}",
                    *(significant(x, 4) for x in numbers),
                )
            )
        )
    names = ", ".join(TARGETS[target].name for target in known)
    section.blocks += [
        Figure(
            "target-distributions",
            material_figures.target_distributions(table, known),
            "Distribution of the labels: histogram, kernel density estimate (line, for five values or more) and box "
            "plot (median, quartiles, whiskers to 1.5 interquartile ranges); Fig. 3 of the paper.",
            f"Histograms with box plots of {names}; the numbers are in the table below.",
        ),
        Table(
            "Statistics of the labels (standard deviation with n − 1).",
            ("property", "count", "mean", "std", "min", "25 %", "median", "75 %", "max"),
            tuple(rows),
        ),
    ]
    for target in TARGETS:
        if target not in known:
            section.blocks.append(
                Text(f"No material has a label of the {TARGETS[target].name}, so it is not predicted.", "missing")
            )
    return section


def dft(run: Run) -> Section:
    """Outcomes, failures with reasons, cost."""
    section = Section("dft", "Electronic structure calculations")
    outcomes = run.dft_outcomes
    if outcomes is None or outcomes.empty:
        section.blocks.append(Text("This run has no record of DFT calculations.", "missing"))
    else:
        section.blocks += _outcomes(run, outcomes)
    section.blocks += protocol.atoms(run)
    section.blocks += cost_of_steps(run)
    return section


def _outcomes(run: Run, outcomes: pd.DataFrame) -> list:
    converged = outcomes["status"] == "converged"
    engines = (outcomes["engine"] + " " + outcomes["engine_version"]).str.strip()
    blocks: list = [
        Text(
            f"{count(len(outcomes), 'density', 'densities')} requested from {', '.join(sorted(set(engines)))}: "
            f"{int(converged.sum()):,} converged, {int((~converged).sum()):,} set aside."
        )
    ]
    cost = outcomes["core_hours"]
    if cost.notna().any():
        total = f"{significant(cost.sum())} core hours in all"
        per = f"median {significant(cost.median())}, highest {significant(cost.max())} core hours per material"
        wall = f"median wall time {duration(outcomes['wall_time_s'].median())}"
        blocks.append(Text(f"Cost: {total}; {per}; {wall}."))
    blocks += protocol.corrections(outcomes)
    blocks += _electrons(outcomes[converged])
    if converged.all():
        blocks.append(Text("Failures: none."))
    else:
        failed = outcomes[~converged]
        rows = [Row((row.material_id, row.status, row.reason or "no reason recorded")) for row in failed.itertuples()]
        blocks.append(
            Table(
                "Materials set aside, with the reason" + cut(len(rows), "results/dft_outcomes.csv"),
                ("material", "status", "reason"),
                tuple(rows[:MAX_ROWS]),
                n_text=3,
            )
        )
    if ((outcomes["core_hours"] > 0) & (outcomes["wall_time_s"] > 0)).any():
        blocks.append(
            Figure(
                "dft-cost",
                material_figures.dft_cost(outcomes),
                "Wall time and core hours per material.",
                "Histograms of wall time and core hours of the DFT runs on logarithmic axes.",
            )
        )
    elif run.config.get("dft", {}).get("engine") == "files":
        blocks.append(Text("The densities were provided as files, so no calculation was timed.", "missing"))
    return blocks


def _electrons(converged: pd.DataFrame) -> list:
    electrons = converged["n_electrons"].dropna()
    if electrons.empty:
        return []
    deviation = (electrons - electrons.round()).abs().max()
    return [
        Text(
            f"Electrons: {span(electrons.min(), electrons.max())} per cell, {decimals(electrons.sum(), 0)} in all. The "
            f"numbers differ from integers by at most {significant(deviation, 2)}. A density is read or written only "
            "if its integral over the cell agrees with this number within 0.1 % (or 0.001 electrons, if that is more)."
        )
    ]
