"""The selected model against every baseline, on the same folds: what the self-consistent density adds."""

import pandas as pd

from rho2prop.core.targets import TARGETS
from rho2prop.features.feature_sets import set_label
from rho2prop.models.registry import FROM_KG, is_derived, model_label
from rho2prop.report.blocks import Heading, Row, Table, Text
from rho2prop.report.data import Run
from rho2prop.report.figures.models import SPLIT_NAMES
from rho2prop.report.numbers import DASH, plus_minus


def baselines(run: Run) -> list:
    """Heading, table and its reading; nothing where no baseline was evaluated."""
    chosen = (run.config.get("predict") or [None])[0]
    table = against_baselines(run)
    if table.empty:
        return []
    rows = []
    for (model, features), part in table.groupby(["model", "features"], sort=False):
        changes = part.set_index("target")
        cells = [
            f"{plus_minus(100 * changes.loc[target, 'change'], 100 * changes.loc[target, 'change_std'], 0)} %"
            if target in changes.index
            else DASH
            for target in run.targets
        ]
        name = model_label(model) if features == "none" else f"{model_label(model)}: {set_label(features)}"
        rows.append(Row((name, *cells)))
    predicting = f"{model_label(chosen['model'])} on {set_label(chosen['features'])}"
    split = SPLIT_NAMES.get(run.main_split, run.main_split)
    return [
        Heading("The selected model against the baselines"),
        Table(
            f"Change of the MAE from each baseline to the selected model, {predicting}; split {split}, ± over folds. "
            "Negative: the selected model is better. Its E and Θ are those that follow from K and G, where it has "
            "both.",
            ("baseline", *(TARGETS[target].symbol for target in run.targets)),
            tuple(rows),
        ),
        Text(
            "Baselines know composition and geometry, or the promolecule (superposition of atomic densities), but no "
            "self-consistent density. The gain over the best of them is what the self-consistent density adds.",
            "note",
        ),
    ]


def against_baselines(run: Run) -> pd.DataFrame:
    """Relative change of the MAE from each baseline to the first model of ``predict``, on the main split.

    Returns
    -------
    pandas.DataFrame
        Columns model, features, target, change (of the mean over folds), change_std (sample standard deviation of the
        change in each fold); baselines by falling mean change. Empty where the model was not evaluated.
    """
    chosen = (run.config.get("predict") or [None])[0]
    columns = ["model", "features", "target", "change", "change_std"]
    if chosen is None or run.metrics is None or not run.main_split:
        return pd.DataFrame(columns=columns)
    errors = run.metrics[run.metrics["split"] == run.main_split]
    own = errors[errors["features"] == chosen["features"]]
    derived = own[own["model"] == chosen["model"] + FROM_KG]
    direct = own[(own["model"] == chosen["model"]) & ~own["target"].isin(derived["target"])]
    mae = pd.concat([part for part in (direct, derived) if len(part)] or [direct]).set_index(["target", "fold"])["mae"]
    others = errors[~errors["model"].map(is_derived) & ~errors["features"].map(run.uses_density)]
    rows = []
    for (model, features, target), part in others.groupby(["model", "features", "target"], sort=False):
        if target not in mae.index.get_level_values("target"):
            continue
        baseline = part.set_index("fold")["mae"]
        model_mae = mae[target].reindex(baseline.index)
        change = float(model_mae.mean() / baseline.mean() - 1)
        rows.append((model, features, target, change, float((model_mae / baseline - 1).std(ddof=1))))
    table = pd.DataFrame(rows, columns=columns)
    order = table.groupby(["model", "features"])["change"].transform("mean")
    return table.assign(order=order).sort_values(["order", "model", "features"], kind="stable")[columns]
