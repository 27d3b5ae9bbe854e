"""Section on learning curves: error against the number of training materials."""

import pandas as pd

from rho2prop.core.targets import TARGETS
from rho2prop.evaluation.learning_curve import ALL
from rho2prop.features.feature_sets import set_label
from rho2prop.models.registry import is_derived, model_label
from rho2prop.report.blocks import Figure, Row, Section, Table, Text
from rho2prop.report.data import Run
from rho2prop.report.figures import models
from rho2prop.report.numbers import DASH, plus_minus
from rho2prop.report.sections.models import split_name

MISSING = "No learning curve was computed: there are too few materials for any of its sizes."


def learning(run: Run) -> Section:
    """Mean absolute error against the number of training materials."""
    section = Section("learning", "Learning curves")
    table = direct_scores(run)
    if table is None:
        section.blocks.append(Text(MISSING, "missing"))
        return section
    sizes = [size for size in ordered_sizes(table) if size != ALL]
    section.blocks += [
        Text(
            f"In each fold of the split {split_name(table['split'].iloc[0])}, models were trained again on "
            f"{', '.join(sizes)} of its materials (validation included, drawn at random, smaller sets contained in "
            "larger ones). The test part stayed the same."
        ),
        Figure(
            "learning-curves",
            models.learning_curves(table),
            "Mean absolute error on the test folds (bars: standard deviation) against the number of training "
            "materials.",
            "Learning curves; the same numbers are in the table below.",
        ),
        Table(
            "Mean absolute error, mean ± standard deviation over the folds, by number of training materials.",
            ("property", "model, features", *ordered_sizes(table)),
            tuple(_rows(table)),
            n_text=2,
        ),
    ]
    return section


def direct_scores(run: Run) -> pd.DataFrame | None:
    """Scores without those derived from K and G; None where there is only the full training set."""
    table = run.learning_curve
    if table is None or not (table["size"] != ALL).any():
        return None
    return table[~table["model"].map(is_derived)]


def ordered_sizes(table: pd.DataFrame) -> list[str]:
    """Sizes from small to large, the full training set last."""
    return sorted(table["size"].unique(), key=lambda size: (size == ALL, int(size) if size != ALL else 0))


def _rows(table: pd.DataFrame) -> list[Row]:
    rows = []
    for target in (name for name in TARGETS if name in set(table["target"])):
        part = table[table["target"] == target]
        for model, features in part[["model", "features"]].drop_duplicates().itertuples(index=False, name=None):
            own = part[(part["model"] == model) & (part["features"] == features)]
            cells = []
            for size in ordered_sizes(table):
                errors = own.loc[own["size"] == size, "mae"]
                cells.append(plus_minus(errors.mean(), errors.std()) if len(errors) else DASH)
            name = f"{model_label(model)}: {set_label(features)}"
            rows.append(Row((f"{TARGETS[target].symbol} / {TARGETS[target].unit}", name, *cells)))
    return rows
