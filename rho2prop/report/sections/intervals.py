"""Section on prediction intervals: stated and observed coverage."""

import math

from rho2prop.core.targets import TARGETS
from rho2prop.evaluation.intervals import POOLED
from rho2prop.features.feature_sets import set_label
from rho2prop.materials.splits import FINAL_FOLD
from rho2prop.models.registry import model_label
from rho2prop.report.blocks import Row, Section, Table, Text
from rho2prop.report.data import Run
from rho2prop.report.numbers import decimals, significant
from rho2prop.report.sections.final import final_models

STANDARD_ERRORS = 2  # a coverage that deviates by more is listed


def intervals(run: Run) -> Section:
    """Stated and observed coverage of the conformal intervals, on folds that they were not calibrated on."""
    section = Section("intervals", "Prediction intervals")
    if run.intervals is None or run.intervals.empty:
        section.blocks.append(Text("The coverage of the intervals was not evaluated in this run.", "missing"))
        section.blocks += final_models(run.final_models)
        return section
    table = run.intervals
    stated = table["coverage_stated"].iloc[0]
    rows, off, smallest = [], [], math.inf
    for (model, features, target), group in table.groupby(["model", "features", "target"], sort=False):
        pooled = group[group["fold"] == POOLED].iloc[0]
        folds = group.loc[~group["fold"].isin([POOLED, FINAL_FOLD]), "coverage_found"]
        name = f"{model_label(model)}, {set_label(features)}"
        standard_error = math.sqrt(stated * (1 - stated) / pooled["n"])
        deviation = (pooled["coverage_found"] - stated) / standard_error
        smallest = min(smallest, pooled["n"])
        if abs(deviation) > STANDARD_ERRORS:
            off.append(f"{name}, {TARGETS[target].symbol} ({decimals(100 * pooled['coverage_found'], 1)} %)")
        rows.append(
            Row(
                (
                    name,
                    f"{TARGETS[target].symbol} / {TARGETS[target].unit}",
                    decimals(100 * pooled["coverage_found"], 1),
                    decimals(100 * standard_error, 1),
                    f"{'+' if deviation > 0 else ''}{decimals(deviation, 1)}",
                    f"{decimals(100 * folds.min(), 0)} to {decimals(100 * folds.max(), 0)}",
                    significant(pooled["mean_width"]),
                    f"{int(pooled['n']):,}",
                )
            )
        )
    section.blocks += [
        Text(
            f"Each prediction has an interval with a stated coverage of {100 * stated:g} %: split conformal prediction "
            "from residuals of test folds, with a width that grows with the value where that scores better. The "
            "coverage is checked fold by fold, with intervals calibrated on the other folds. It applies to materials "
            "that resemble the training set as much as one chemical system resembles another, not to all materials."
        ),
        Table(
            f"Observed coverage in percent (stated: {100 * stated:g}), the binomial standard error of the stated "
            "coverage for this number of materials, the deviation in standard errors, and the mean width.",
            (
                "model, features",
                "property",
                "coverage / %",
                "standard error / %",
                "deviation / standard errors",
                "single folds / %",
                "mean width",
                "materials",
            ),
            tuple(rows),
            n_text=2,
        ),
        Text(_verdict(off, len(rows), stated, smallest)),
        *final_models(run.final_models),
    ]
    return section


def _verdict(off: list[str], n_rows: int, stated: float, smallest: float) -> str:
    """Sentence on rows that agree with the stated coverage, rows that do not, and the resolution."""
    within = f"within {STANDARD_ERRORS} standard errors of the stated {100 * stated:g} %"
    if off:
        text = f"{n_rows - len(off)} of {n_rows} rows lie {within}. Outside: {'; '.join(off)}."
    else:
        text = f"All {n_rows} rows lie {within}." if n_rows > 1 else f"The one row lies {within}."
    unseen = 100 * STANDARD_ERRORS * math.sqrt(stated * (1 - stated) / smallest)
    return f"{text} With {smallest:.0f} materials a deviation of less than {decimals(unseen, 1)} % cannot be resolved."
