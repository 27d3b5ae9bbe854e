"""Section on prediction intervals: do they hold what they state?"""

import math

from rho2prop.intervals import POOLED
from rho2prop.report.blocks import Row, Section, Table, Text
from rho2prop.report.data import FROM_KG, Run
from rho2prop.report.figures_models import model_name
from rho2prop.report.numbers import decimals, significant
from rho2prop.splits import FINAL_FOLD
from rho2prop.targets import TARGETS

STANDARD_ERRORS = 2  # beyond so many, a coverage is called off its stated value


def intervals(run: Run) -> Section:
    """Stated against found coverage of the conformal intervals, on folds that they were not calibrated on."""
    section = Section("intervals", "Prediction intervals")
    if run.intervals is None or run.intervals.empty:
        section.blocks.append(Text("The intervals were not checked in this run.", "missing"))
        return section
    table = run.intervals
    stated = table["coverage_stated"].iloc[0]
    rows, off = [], []
    for (model, features, target), group in table.groupby(["model", "features", "target"], sort=False):
        pooled = group[group["fold"] == POOLED].iloc[0]
        folds = group.loc[~group["fold"].isin([POOLED, FINAL_FOLD]), "coverage_found"]
        name = f"{_name(model)}, {features}"
        if abs(pooled["coverage_found"] - stated) > STANDARD_ERRORS * math.sqrt(stated * (1 - stated) / pooled["n"]):
            off.append(f"{name}, {TARGETS[target].symbol} ({100 * pooled['coverage_found']:.0f} %)")
        rows.append(
            Row(
                (
                    name,
                    f"{TARGETS[target].symbol} / {TARGETS[target].unit}",
                    decimals(100 * pooled["coverage_found"], 1),
                    f"{decimals(100 * folds.min(), 0)} to {decimals(100 * folds.max(), 0)}",
                    significant(pooled["mean_width"]),
                    f"{int(pooled['n']):,}",
                )
            )
        )
    section.blocks += [
        Text(
            "Each prediction comes with an interval that states to hold the true value in "
            f"{100 * stated:g} % of all cases: split conformal prediction from residuals of test folds, its width "
            "growing with the value where that scores better. Checked here fold by fold, each fold with intervals "
            "calibrated on the others. It holds for materials that resemble the training set as much as one chemical "
            "system resembles another, not for all."
        ),
        Table(
            f"Share of true values inside the intervals in percent (stated: {100 * stated:g}), and their mean width.",
            ("model, features", "property", "found", "folds", "mean width", "materials"),
            tuple(rows),
            n_text=2,
        ),
        Text(_verdict(off, stated)),
    ]
    return section


def _verdict(off: list[str], stated: float) -> str:
    if not off:
        return f"Every coverage lies within {STANDARD_ERRORS} standard errors of the stated {100 * stated:g} %."
    return f"More than {STANDARD_ERRORS} standard errors off the stated {100 * stated:g} %: {'; '.join(off)}."


def _name(model: str) -> str:
    return model_name(model.removesuffix(FROM_KG)) + (" (from K and G)" if model.endswith(FROM_KG) else "")
