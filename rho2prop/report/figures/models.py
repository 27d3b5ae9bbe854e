"""Figures of the property models: feature sets compared, parity, importance."""

from collections.abc import Collection

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from rho2prop.core.targets import TARGETS
from rho2prop.features.feature_sets import set_label
from rho2prop.models.registry import MODELS, is_derived, model_label
from rho2prop.report.data import kind_of
from rho2prop.report.numbers import plus_minus, significant
from rho2prop.report.style import BLUE, CYCLE, GREEN, INK, MARKERS, ORANGE, SYMBOLS, panels, plain_log, style

SPLIT_NAMES = {"random": "random", "formula": "by formula", "chemical_system": "by chemical system", "given": "given"}
_PLATE = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.5}
KIND_COLOURS = {"density": BLUE, "composition": ORANGE, "structure": GREEN}


def feature_sets(summary: pd.DataFrame, splits: list[str], targets: list[str], with_density: Collection[str]) -> Figure:
    """Mean absolute error of each model and feature set, one panel per target, one mark per split.

    Parameters
    ----------
    summary
        As ``rho2prop.report.data.summarise`` gives it.
    splits, targets
        What to show, in order. The baseline "mean" is not drawn (its error is beyond the others) but named.
    with_density
        Feature sets that hold a block of the self-consistent density.
    """
    drawn = summary[(summary["model"] != "mean") & ~summary["model"].map(is_derived)]
    models = [name for name in MODELS if name in set(drawn["model"])]
    combinations = [
        (model, features)
        for model in models
        for features in sorted(
            drawn.loc[drawn["model"] == model, "features"].unique(),
            key=lambda name: name in with_density,
        )
    ]
    labels = [f"{set_label(features)}  |  {model_label(model, is_short=True)}" for model, features in combinations]
    offsets = np.linspace(0.24, -0.24, len(splits)) if len(splits) > 1 else [0.0]
    with style():
        figure, axes_list = panels(
            len(targets), 2, size=(4.6 if len(targets) > 1 else 4.4, 0.9 + 0.27 * len(combinations))
        )
        for number, (axes, target) in enumerate(zip(axes_list, targets, strict=True)):
            for index, split in enumerate(splits):
                part = drawn[(drawn["target"] == target) & (drawn["split"] == split)]
                part = part.set_index(["model", "features"]).reindex(combinations)
                axes.errorbar(
                    part["mae_mean"],
                    np.arange(len(combinations))[::-1] + offsets[index],
                    xerr=part["mae_std"].fillna(0),
                    fmt=MARKERS[index],
                    color=CYCLE[index],
                    markersize=4.5,
                    elinewidth=1,
                    label=SPLIT_NAMES.get(split, split),
                )
            axes.set_ylim(-0.6, len(combinations) - 0.4)
            axes.set_yticks(np.arange(len(combinations))[::-1], labels if number % 2 == 0 else [])
            for row, (_, features) in enumerate(combinations):
                if features in with_density:
                    axes.axhspan(
                        len(combinations) - row - 1.5,
                        len(combinations) - row - 0.5,
                        color="#EAF3FA",
                        lw=0,
                        zorder=0,
                    )
            axes.grid(False, axis="y")
            axes.set_title(f"{SYMBOLS[target]}  {TARGETS[target].name}")
            axes.set_xlabel(f"mean absolute error / {TARGETS[target].unit}")
        handles, names = axes_list[0].get_legend_handles_labels()
        handles.append(Patch(color="#EAF3FA"))
        figure.legend(handles, [*names, "uses the density"], loc="outside upper center", ncols=len(names) + 1)
    return figure


def learning_curves(table: pd.DataFrame) -> Figure:
    """Mean absolute error against the number of materials, one panel per target, both axes logarithmic.

    Parameters
    ----------
    table
        Rows of ``results/learning_curve.csv`` of models that are fitted directly.
    """
    targets = [target for target in TARGETS if target in set(table["target"])]
    lines = list(table[["model", "features"]].drop_duplicates().itertuples(index=False, name=None))
    with style():
        figure, axes_list = panels(len(targets), 3, size=(3.3, 2.8))
        for axes, target in zip(axes_list, targets, strict=True):
            for index, (model, features) in enumerate(lines):
                own = table[(table["target"] == target) & (table["model"] == model) & (table["features"] == features)]
                points = own.groupby("size").agg(n=("n_train", "mean"), mae=("mae", "mean"), std=("mae", "std"))
                points = points.sort_values("n")
                axes.errorbar(
                    points["n"] * (1 + 0.02 * (index - len(lines) / 2)),  # bars beside each other
                    points["mae"],
                    yerr=points["std"].fillna(0),
                    fmt=f"{MARKERS[index % len(MARKERS)]}-",
                    color=CYCLE[index % len(CYCLE)],
                    markersize=4,
                    elinewidth=1,
                    label=f"{model_label(model, is_short=True)}: {set_label(features)}",
                )
            axes.set_xscale("log")
            axes.set_yscale("log")
            for axis in (axes.xaxis, axes.yaxis):
                plain_log(axis)
                axis.set_tick_params(which="minor", labelsize=6)
            axes.set_title(f"{SYMBOLS[target]}  {TARGETS[target].name}")
            axes.set_xlabel("training materials")
            axes.set_ylabel(f"mean absolute error / {TARGETS[target].unit}")
        handles, names = axes_list[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=2)
    return figure


def parity(
    pooled: pd.DataFrame, summary: pd.DataFrame, targets: list[str], shares: pd.DataFrame | None = None
) -> Figure:
    """Predicted against actual values of all test folds, with importance in a last panel (Figs. 8 and 9).

    Parameters
    ----------
    pooled
        Columns target, fold, y_true, y_pred; test parts only.
    summary
        Rows of one model, feature set and split of ``rho2prop.report.data.summarise``.
    targets
        One panel each.
    shares
        Rows of the importance table for the same model and features, if known.
    """
    rows = summary.set_index("target")
    with style():
        figure, axes_list = panels(len(targets) + (shares is not None), size=(3.0, 2.8))
        for axes, target in zip(axes_list, targets, strict=False):
            part = pooled[pooled["target"] == target]
            every = part[["y_true", "y_pred"]].to_numpy()
            low, high = every.min(), every.max()
            margin = 0.04 * (high - low) or 1.0
            limits = (low - margin, high + margin)
            axes.plot(limits, limits, color=INK, lw=0.9)
            axes.plot(
                part["y_true"],
                part["y_pred"],
                ".",
                color=BLUE,
                alpha=0.5 if len(part) > 100 else 0.8,
                markersize=3.5 if len(part) > 100 else 6,
                markeredgewidth=0,
                rasterized=len(part) > 800,
            )
            axes.set_xlim(limits)
            axes.set_ylim(limits)
            axes.set_aspect("equal")
            unit = TARGETS[target].unit
            axes.set_title(f"{SYMBOLS[target]}  {TARGETS[target].name}")
            axes.set_xlabel(f"actual / {unit}")
            axes.set_ylabel(f"predicted / {unit}")
            if target in rows.index:
                row = rows.loc[target]
                text = f"R² {plus_minus(row.r2_mean, row.r2_std, 2)}\n"
                text += f"MAE {plus_minus(row.mae_mean, row.mae_std)} {unit}"
                axes.text(0.04, 0.96, text, transform=axes.transAxes, va="top", fontsize=8, bbox=_PLATE)
        if shares is not None:
            _share_bars(axes_list[-1], shares)
            axes_list[-1].set_title("SHAP share")
            axes_list[-1].legend(
                handles=_kind_handles(shares),
                loc="upper center",
                bbox_to_anchor=(0.5, -0.24),
                ncols=3,
                columnspacing=0.8,
                handlelength=1,
            )
    return figure


def importance(table: pd.DataFrame, titles: dict[tuple[str, str], str]) -> Figure:
    """Share of mean |SHAP| that falls on density, composition and structure, per target.

    Parameters
    ----------
    table
        Columns model, features, target, block, share; one split.
    titles
        Panel title by (model, features), in order.
    """
    with style():
        n_targets = table["target"].nunique()
        figure, axes_list = panels(len(titles), 2, size=(4.2, 1.3 + 0.34 * n_targets))
        for axes, ((model, features), title) in zip(axes_list, titles.items(), strict=True):
            part = table[(table["model"] == model) & (table["features"] == features)]
            _share_bars(axes, part)
            axes.set_title(title)
        figure.legend(handles=_kind_handles(table), loc="outside lower center", ncols=3)
    return figure


def shares_by_kind(table: pd.DataFrame) -> pd.DataFrame:
    """Shares summed over blocks of one kind: index target, columns density, composition, structure."""
    summed = table.assign(kind=table["block"].map(kind_of)).groupby(["target", "kind"])["share"].sum().unstack()
    order = [target for target in TARGETS if target in summed.index]
    return summed.reindex(index=order, columns=list(KIND_COLOURS)).fillna(0.0)


def _share_bars(axes: Axes, table: pd.DataFrame) -> None:
    shares = shares_by_kind(table)
    position = np.arange(len(shares))[::-1]
    left = np.zeros(len(shares))
    for kind, colour in KIND_COLOURS.items():
        width = 100 * shares[kind].to_numpy()
        axes.barh(position, width, left=left, color=colour, height=0.66)
        for y, start, value in zip(position, left, width, strict=True):
            if value >= 8:
                ink = "white" if kind != "composition" else INK
                axes.text(start + value / 2, y, f"{value:.0f}", ha="center", va="center", color=ink, fontsize=8)
        left += width
    axes.set_yticks(position, [SYMBOLS[target] for target in shares.index])
    axes.set_xlim(0, 100)
    middle, half = (len(shares) - 1) / 2, max(len(shares), 3) / 2
    axes.set_ylim(middle - half, middle + half)
    axes.set_xlabel("share of mean |SHAP| / %")
    axes.grid(False, axis="y")


def _kind_handles(table: pd.DataFrame) -> list[Patch]:
    present = set(table["block"].map(kind_of))
    return [Patch(color=colour, label=kind) for kind, colour in KIND_COLOURS.items() if kind in present]


def share_text(table: pd.DataFrame) -> str:
    """``K 62 %, G 58 %``: density share by target, for captions and alternative texts."""
    shares = shares_by_kind(table)["density"]
    return ", ".join(f"{TARGETS[target].symbol} {significant(100 * share, 2)} %" for target, share in shares.items())
