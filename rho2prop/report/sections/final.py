"""The final models compared with the fold models: which are offered, which are not, and why."""

import pandas as pd

from rho2prop.core.targets import TARGETS
from rho2prop.features.feature_sets import set_label
from rho2prop.models.registry import model_label
from rho2prop.report.blocks import Heading, Row, Table, Text
from rho2prop.report.numbers import DASH, count, decimals, significant

OFFERED = "True"


def final_models(table: pd.DataFrame | None) -> list:
    """Heading, sentence and table; nothing for a run without final models.

    Parameters
    ----------
    table
        ``results/final_models.csv`` as ``rho2prop.report.data.read_table`` reads it, or None.
    """
    if table is None or table.empty:
        return []
    rows = [
        Row(
            (
                f"{model_label(row.model)}: {set_label(row.features)}",
                f"{TARGETS[row.target].symbol} / {TARGETS[row.target].unit}",
                significant(row.mae),
                significant(row.mae_folds),
                _span(row.mae_folds_least, row.mae_folds_largest),
                decimals(100 * row.coverage_found, 1),
                f"{int(row.n):,}",
                "yes" if row.is_offered == OFFERED else "no",
            )
        )
        for row in table.itertuples()
    ]
    return [
        Heading("Final models"),
        Text(
            "Predictions come from final models, fitted to all materials except a validation part. Each is evaluated "
            "on that part and compared with the fold models on theirs. A final model that falls behind is not offered."
        ),
        Table(
            "Mean absolute errors on validation parts, in the unit of the property, and the fraction of values inside "
            "the intervals.",
            (
                "model, features",
                "property",
                "final model",
                "fold models",
                "single folds",
                "inside intervals / %",
                "materials",
                "offered",
            ),
            tuple(rows),
            n_text=2,
        ),
        Text(_verdict(table)),
    ]


def _verdict(table: pd.DataFrame) -> str:
    refused = table[table["is_offered"] != OFFERED]
    n_offered = len(table) - len(refused)
    if refused.empty:
        return f"Offered: all {count(n_offered, 'model')}, counted by property."
    reasons = "; ".join(
        f"{model_label(row.model)} on {set_label(row.features)}, {TARGETS[row.target].symbol} ({row.reason})"
        for row in refused.itertuples()
    )
    return f"Offered: {n_offered} of {count(len(table), 'model')}, counted by property. Not offered: {reasons}."


def _span(least: float, largest: float) -> str:
    low, high = significant(least), significant(largest)
    return low if low == high else (DASH if DASH in (low, high) else f"{low} to {high}")
