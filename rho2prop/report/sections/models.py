"""Section on the property models: scores, baselines, parity plots, Table 1 of the paper, derived properties."""

import pandas as pd

from rho2prop.core.targets import TARGETS
from rho2prop.features.feature_sets import set_label
from rho2prop.features.registry import blocks_label
from rho2prop.models.registry import FROM_KG, is_derived, model_label
from rho2prop.report import paper
from rho2prop.report.blocks import Figure, Heading, Row, Section, Table, Text
from rho2prop.report.data import (
    Run,
    density_gain,
    hybrid_features,
    left_out,
    pooled_predictions,
    summarise,
)
from rho2prop.report.figures import models
from rho2prop.report.figures.models import SPLIT_NAMES
from rho2prop.report.numbers import DASH, count, plus_minus, significant
from rho2prop.report.sections.baselines import baselines

PARITY_MODELS = {"lightgbm": "Fig. 8", "attention_cnn": "Fig. 9"}


def short_target(target: str) -> str:
    """Symbol and unit of a property."""
    return f"{TARGETS[target].symbol} / {TARGETS[target].unit}"


def split_name(split: str) -> str:
    """A split as the reader knows it."""
    return SPLIT_NAMES.get(split, split)


def percent(change: float, std: float) -> str:
    """A relative change and its spread in percent, always signed."""
    sign = "+" if change > 0 else ""
    return f"{sign}{plus_minus(100 * change, 100 * std, 0)} %"


def properties(run: Run) -> Section:
    """Scores of models and feature sets, density against baselines, parity, Table 1, derived properties."""
    section = Section("properties", "Predicted properties")
    if run.metrics is None or run.metrics.empty:
        section.blocks.append(Text("No property model was evaluated: too few labelled materials.", "missing"))
        return section
    summary = summarise(run.metrics)
    section.blocks += [*_untrained(run), *_left_out(run)]
    section.blocks.append(
        Text(
            "Scores are means ± sample standard deviations over the test folds. Test parts were never trimmed, and "
            "none of their labels was used to fit or select a model. “By formula” and “by chemical system” keep all "
            "materials of a formula or of a set of elements in one fold, so that test materials differ from those seen "
            "in training."
        )
    )
    section.blocks.append(_set_table(run))
    direct = summary[~summary["model"].map(is_derived)]
    if (direct["model"] != "mean").any():
        section.blocks.append(
            Figure(
                "feature-sets",
                models.feature_sets(summary, run.split_names, run.targets, run.sets_with_density),
                "Mean absolute error of each feature set and model over the test folds (bars: standard "
                "deviation); left "
                "is better. LGBM: LightGBM, GP: Gaussian process, blend: of both, CNN: attention CNN, FP: fingerprint. "
                "The baseline “mean” is in the tables.",
                "Dot plots of mean absolute errors; the same numbers are in the tables below.",
            )
        )
    section.blocks += [*_gain(run), *baselines(run)]
    section.blocks += [Heading("Predicted against actual values"), *_parity(run, summary)]
    section.blocks += [Heading("Table 1 of the paper"), _ablation(run, summary)]
    section.blocks.append(
        Text(
            "The paper’s values are for its own materials, a random split, and targets without outliers. A run on "
            "other materials can be compared with them only in the order of the models. What density features are "
            "worth is shown by the baselines of this run on the same folds.",
            "note",
        )
    )
    section.blocks += [Heading("E and Θ from K and G"), *_derived(run, summary)]
    section.blocks.append(Heading("All scores"))
    section.blocks += [_score_table(direct, run.targets, split) for split in run.split_names]
    return section


def _set_table(run: Run) -> Table:
    """The feature sets that were evaluated and their blocks; the others of the configuration are not of this run."""
    evaluated = set() if run.metrics is None else set(run.metrics["features"])
    names = [name for name in run.feature_sets if name in evaluated and run.blocks(name)]
    return Table(
        "Feature sets of this run and their blocks, in order.",
        ("feature set", "name in the configuration", "blocks", "uses the density"),
        tuple(
            Row((set_label(name), name, blocks_label(run.blocks(name)), "yes" if run.uses_density(name) else "no"))
            for name in names
        ),
        n_text=4,
    )


def _left_out(run: Run) -> list[Text]:
    """Models and feature sets that had too few labels where others had enough."""
    blocks = []
    for (model, features, split), reasons in left_out(run).items():
        reason = next((reasons[target] for target in run.targets if target in reasons), next(iter(reasons.values())))
        name = f"{model_label(model)} on {set_label(features)}, {split_name(split)}"
        blocks.append(Text(f"{name}: left out, {reason}.", "missing"))
    return blocks


def _untrained(run: Run) -> list:
    blocks = []
    for target, info in TARGETS.items():
        if target in run.targets:
            continue
        n_labels = 0 if run.materials is None else int(run.materials[target].notna().sum())
        reason = "no material has a label" if n_labels == 0 else f"only {count(n_labels, 'material')} with a label"
        blocks.append(Text(f"{info.name.capitalize()} ({info.symbol}): not predicted, {reason}.", "missing"))
    return blocks


def _score_table(summary: pd.DataFrame, targets: list[str], split: str) -> Table:
    rows = []
    for target in targets:
        part = summary[(summary["split"] == split) & (summary["target"] == target)].reset_index(drop=True)
        if part.empty:
            continue
        info = TARGETS[target]
        rows.append(Row((f"{info.name} {info.symbol} (MAE and RMSE in {info.unit})",), kind="group"))
        best = {2: (-part["r2_mean"]).argmin(), 3: part["mae_mean"].argmin(), 4: part["rmse_mean"].argmin()}
        for row in part.itertuples():
            cells = (
                model_label(row.model),
                DASH if row.features == "none" else set_label(row.features),
                plus_minus(row.r2_mean, row.r2_std, 3),
                plus_minus(row.mae_mean, row.mae_std),
                plus_minus(row.rmse_mean, row.rmse_std),
                f"{row.n_folds}",
            )
            rows.append(Row(cells, frozenset(column for column, index in best.items() if index == row.Index)))
    return Table(
        f"Split {split_name(split)}: scores over the test folds, by rising MAE, best in bold.",
        ("model", "features", "R²", "MAE", "RMSE", "folds"),
        tuple(rows),
        n_text=2,
    )


def _gain(run: Run) -> list:
    gain = density_gain(run)
    if gain.empty:
        return [Text("Feature sets with and without the density were not both evaluated.", "missing")]
    rows = []
    for target in run.targets:
        info = TARGETS[target]
        part = gain[gain["target"] == target]
        if len(part):
            rows.append(Row((f"{info.name} {info.symbol} (MAE in {info.unit})",), kind="group"))
        for row in part.itertuples():
            cells = (
                split_name(row.split),
                f"{model_label(row.with_density[0])}: {set_label(row.with_density[1])}",
                f"{model_label(row.without_density[0])}: {set_label(row.without_density[1])}",
                significant(row.mae_with),
                significant(row.mae_without),
                percent(row.change, row.change_std),
                f"{row.n_better} of {row.n_folds}",
            )
            rows.append(Row(cells))
    return [
        Heading("Does the density help?"),
        Table(
            "Best feature set with the density against the best without it, on the same folds (change of the MAE, "
            "negative is better, ± over folds). Each “best” was selected by these test scores, which favours the side "
            "with more feature sets.",
            ("split", "with density", "without", "MAE with", "MAE without", "change", "folds better"),
            tuple(rows),
            n_text=3,
        ),
    ]


def _parity(run: Run, summary: pd.DataFrame) -> list:
    blocks: list = []
    split = run.main_split
    chosen = (run.config.get("predict") or [{"model": None}])[0]["model"]
    figures = ({} if chosen in PARITY_MODELS or chosen is None else {chosen: None}) | PARITY_MODELS
    for model, figure_number in figures.items():
        features = hybrid_features(run, model)
        name = model_label(model)
        counterpart = "the selected model" if figure_number is None else f"{figure_number} of the paper"
        if features is None:
            blocks.append(Text(f"{name}: not evaluated on density and composition together.", "missing"))
            continue
        pooled = pooled_predictions(run, model, features, split)
        if pooled is None or pooled.empty:
            blocks.append(Text(f"{name}: no stored predictions for the split {split_name(split)}.", "missing"))
            continue
        rows = rows_of(summary, model, features, split)
        targets = [target for target in run.targets if target in set(pooled["target"])]
        shares = shares_of(run, model, features)
        described = "; ".join(
            f"{TARGETS[row.target].symbol} R² {plus_minus(row.r2_mean, row.r2_std, 2)}" for row in rows.itertuples()
        )
        blocks.append(
            Figure(
                f"parity-{model.replace('_', '-')}",
                models.parity(pooled, rows, targets, shares),
                f"{name}, features {set_label(features)}, split {split_name(split)}: test parts of all folds "
                f"together; scores are means ± standard deviations over folds ({counterpart}).",
                f"Scatter plots of predicted against actual values. {described}.",
            )
        )
    return blocks


def rows_of(summary: pd.DataFrame, model: str, features: str | None, split: str) -> pd.DataFrame:
    """Rows of the summary for one model, feature set and split."""
    return summary[
        (summary["model"] == model) & (summary["features"] == features) & (summary["split"] == split)
    ].reset_index(drop=True)


def shares_of(run: Run, model: str, features: str) -> pd.DataFrame | None:
    """Importance rows of one model and feature set, for the main split if it is there; None without any."""
    if run.importance is None:
        return None
    part = run.importance[(run.importance["model"] == model) & (run.importance["features"] == features)]
    if part.empty:
        return None
    splits = list(dict.fromkeys(part["split"]))
    return part[part["split"] == (run.main_split if run.main_split in splits else splits[0])]


def _ablation(run: Run, summary: pd.DataFrame) -> Table:
    rows = []
    for label, model, blocks, published in paper.ABLATION:
        rows.append(Row((label,), kind="group"))
        rows.append(Row(("paper", *(DASH if value is None else f"{value:.2f}" for value in published)), kind="paper"))
        for split in run.split_names:
            part = rows_of(summary, model, run.set_with(blocks), split).set_index("target")
            cells = [
                plus_minus(part.loc[target, "r2_mean"], part.loc[target, "r2_std"], 2) if target in part.index else DASH
                for target in paper.ABLATION_TARGETS
            ]
            rows.append(Row((f"this run, {split_name(split)}", *cells)))
    return Table(
        f"R² of this run and those published for the paper’s own materials ({paper.CITATION}, Table 1).",
        ("input and model", *(TARGETS[target].symbol for target in paper.ABLATION_TARGETS)),
        tuple(rows),
    )


def _derived(run: Run, summary: pd.DataFrame) -> list:
    derived = summary[summary["model"].map(is_derived)]
    if derived.empty:
        return [
            Text(
                "E = 9KG/(3K+G), and Θ from the elastic sound velocities, need predictions of both K and G, which this "
                "run does not have.",
                "missing",
            )
        ]
    rows = []
    for target in run.targets:
        for split in run.split_names:
            part = derived[(derived["split"] == split) & (derived["target"] == target)]
            if len(part):
                info = TARGETS[target]
                title = f"{info.name} {info.symbol} (MAE in {info.unit}), split {split_name(split)}"
                rows.append(Row((title,), kind="group"))
            for row in part.itertuples():
                model = row.model.removesuffix(FROM_KG)
                direct = rows_of(summary[summary["target"] == target], model, row.features, split)
                if direct.empty:
                    continue
                other = direct.iloc[0]
                cells = (
                    f"{model_label(model)}: {DASH if row.features == 'none' else set_label(row.features)}",
                    plus_minus(other.r2_mean, other.r2_std, 3),
                    plus_minus(row.r2_mean, row.r2_std, 3),
                    plus_minus(other.mae_mean, other.mae_std),
                    plus_minus(row.mae_mean, row.mae_std),
                )
                bold = {1 if other.r2_mean >= row.r2_mean else 2, 3 if other.mae_mean <= row.mae_mean else 4}
                rows.append(Row(cells, frozenset(bold)))
    return [
        Text(
            "E = 9KG/(3K+G), and the elastic Debye temperature follows from K, G, the mass density and the number of "
            "atoms. Both can be predicted directly, or calculated from the predicted K and G, which makes the "
            "properties consistent."
        ),
        Table(
            "Direct predictions against values calculated from predicted K and G (better in bold).",
            ("model: features", "R² direct", "R² from K, G", "MAE direct", "MAE from K, G"),
            tuple(rows),
        ),
    ]
