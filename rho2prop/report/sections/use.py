"""Sections on the importance of the features and on the predictions for new materials."""

import pandas as pd
from matplotlib.figure import Figure as Drawing

from rho2prop.core.targets import TARGETS
from rho2prop.features.feature_sets import set_label
from rho2prop.features.registry import BLOCKS
from rho2prop.models.registry import model_label
from rho2prop.report import paper
from rho2prop.report.blocks import Figure, Items, Row, Section, Table, Text
from rho2prop.report.data import Run
from rho2prop.report.figures import models
from rho2prop.report.numbers import DASH, decimals, plus_minus
from rho2prop.report.sections.data import MAX_ROWS
from rho2prop.report.sections.models import shares_of, short_target, split_name


def importance(run: Run) -> Section:
    """Contribution of the density to the SHAP values."""
    section = Section("importance", "Density or composition?")
    table = run.importance
    if table is None or table.empty:
        section.blocks.append(Text("No SHAP values were computed in this run.", "missing"))
        return section
    chosen = importance_panels(run)
    statements = []
    for model, features in chosen:
        if not run.uses_density(features):
            continue
        shares = models.share_text(shares_of(run, model, features))
        statement = f"{model_label(model)}, {set_label(features)}: share of the density {shares}."
        if run.blocks(features) == paper.HYBRID.get(model):
            statement += f" The paper says that {paper.IMPORTANCE[model]}."
        statements.append((statement, ""))
    section.blocks += [
        Items(tuple(statements)),
        Figure(
            "importance",
            importance_figure(run),
            "Share of the mean absolute SHAP values on test materials, summed over the features of each kind.",
            "Stacked bars per target. " + " ".join(statement for statement, _ in statements),
        ),
        _share_table(table, chosen),
        Text(
            "A share says what a fitted model relies on, not what causes a property. Correlated features split their "
            "share.",
            "note",
        ),
    ]
    return section


def _share_table(table: pd.DataFrame, chosen: dict[tuple[str, str], str]) -> Table:
    """Shares by block, in brackets the net share where the table has it."""
    blocks = list(dict.fromkeys(table["block"]))
    has_net = "net_share" in table
    rows = []
    for (model, features), title in chosen.items():
        part = table[(table["model"] == model) & (table["features"] == features)]
        for split in dict.fromkeys(part["split"]):
            rows.append(Row((f"{title}, split {split_name(split)}",), kind="group"))
            of_split = part[part["split"] == split]
            for target in (target for target in TARGETS if target in set(of_split["target"])):
                values = of_split[of_split["target"] == target].set_index("block")
                cells = [TARGETS[target].symbol]
                for block in blocks:
                    if block not in values.index:
                        cells.append("")
                        continue
                    cell = decimals(100 * values.loc[block, "share"], 1)
                    if has_net:
                        net = pd.to_numeric(values.loc[block, "net_share"], errors="coerce")
                        cell += f" ({decimals(100 * net, 1)})"
                    cells.append(cell)
                rows.append(Row(tuple(cells)))
    caption = "Share of mean |SHAP| by feature block, in %"
    if has_net:
        caption += "; in brackets after adding up the inputs of a block, where opposite ones cancel"
    return Table(caption + ".", ("target", *(BLOCKS[block].label for block in blocks)), tuple(rows))


def importance_figure(run: Run) -> Drawing:
    """Bars of the shares for each model and feature set with SHAP values."""
    chosen = importance_panels(run)
    return models.importance(pd.concat([shares_of(run, *pair) for pair in chosen]), chosen)


def importance_panels(run: Run) -> dict[tuple[str, str], str]:
    """Models and feature sets with SHAP values, and their titles."""
    assert run.importance is not None
    pairs = run.importance[["model", "features"]].drop_duplicates().itertuples(index=False)
    return {(pair.model, pair.features): f"{model_label(pair.model)}:\n{set_label(pair.features)}" for pair in pairs}


def predictions(run: Run) -> Section:
    """Predictions for materials without labels."""
    section = Section("predictions", "Predictions for new materials")
    table = run.new_predictions
    if table is None or table.empty:
        section.blocks.append(
            Text(
                "There are no new materials in this run. To predict one, add a row to the materials table with a "
                "material_id and the path of its structure (CIF or POSCAR), leave the property columns blank, and run "
                "the workflow again: only the steps for the new material run.",
                "missing",
            )
        )
        return section
    order = [target for target in TARGETS if target in set(table["target"])]
    rows = []
    for (material, formula, model, features), part in table.groupby(
        ["material_id", "formula", "model", "features"], sort=False
    ):
        values = part.drop_duplicates("target").set_index("target")
        cells = [
            plus_minus(values.loc[target, "value"], values.loc[target, "fold_std"]) if target in values.index else DASH
            for target in order
        ]
        rows.append(Row((material, formula, f"{model_label(model)}: {set_label(features)}", *cells)))
    cut = (
        ""
        if len(rows) <= MAX_ROWS
        else f" The first {MAX_ROWS} of {len(rows):,} rows; all are in results/predictions.csv."
    )
    section.blocks.append(
        Table(
            "Predicted properties; ± is the spread over the models of the cross-validation folds. It says how much the "
            "models disagree and is not a full error bar." + cut,
            ("material", "formula", "model and features", *(short_target(target) for target in order)),
            tuple(rows[:MAX_ROWS]),
            n_text=3,
        )
    )
    return section
