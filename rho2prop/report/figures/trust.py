"""Figures on invariance of predictions and on errors and sizes of stored densities."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rho2prop.report.style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, VERMILION, plain_log, style

KINDS = {"rotation": "24 rotations", "shift": "origin shifts", "supercell": "supercells"}
FLOOR_PERCENT = 1e-5  # smaller changes, exact zeros too, are drawn here
BAR_PERCENT, PAPER_PERCENT = 0.5, 5.0


def invariance(table: pd.DataFrame, labels: dict[tuple, str]) -> Figure:
    """Every relative change of a prediction, one row per model, one panel per kind of description.

    Parameters
    ----------
    table
        As ``rho2prop.evaluation.invariance.evaluate`` returns it.
    labels
        (model, features, grid) to the text of its row, in the order of the rows.
    """
    rng = np.random.default_rng(0)  # the jitter is the same for the same data
    with style():
        figure = Figure(figsize=(8.6, 1.3 + 0.42 * len(labels)), layout="constrained")
        panels = figure.subplots(1, len(KINDS), sharey=True)
        for axes, (kind, title), colour in zip(panels, KINDS.items(), (BLUE, ORANGE, GREEN), strict=True):
            for row, key in enumerate(labels):
                model, features, grid = key
                part = table[
                    (table["model"] == model)
                    & (table["features"] == features)
                    & (table["grid"] == grid)
                    & (table["kind"] == kind)
                ]
                percent = np.maximum(100 * part["relative_change"].abs().dropna().to_numpy(), FLOOR_PERCENT)
                height = row + rng.uniform(-0.22, 0.22, len(percent))
                axes.plot(percent, height, ".", color=colour, ms=4, alpha=0.45, mew=0, rasterized=True)
                if len(percent):
                    axes.plot(percent.max(), row, "|", color=INK, ms=13, mew=1.6)
            axes.axvline(BAR_PERCENT, color=GREY, lw=1, ls="--")
            axes.axvline(PAPER_PERCENT, color=VERMILION, lw=1, ls=":")
            axes.set_xscale("log")
            axes.set_xlim(FLOOR_PERCENT / 2, 300)
            axes.set_xticks([1e-4, 1e-2, 1, 100], ["10⁻⁴", "0.01", "1", "100"])
            axes.set_title(title)
            axes.set_xlabel("change of prediction / %")
            axes.grid(False, axis="y")
        panels[0].set_yticks(range(len(labels)), list(labels.values()))
        panels[0].set_ylim(len(labels) - 0.5, -0.5)
    return figure


def stored_errors(table: pd.DataFrame) -> Figure:
    """Error of decoded densities against the ratio of CHGCAR to stored bytes, held-out materials.

    Parameters
    ----------
    table
        Rows of ``results/latent_database.csv`` with errors.
    """
    ratio = table["bytes_chgcar"] / table["bytes_database"]
    with style():
        figure = Figure(figsize=(6.2, 3.2), layout="constrained")
        axes = figure.subplots()
        for column, colour, marker, label in (
            ("nmae", PURPLE, "o", "decoded latent"),
            ("nmae_window", GREY, "s", "sampling grid alone"),
        ):
            axes.plot(ratio, 100 * table[column], marker, color=colour, ms=4, alpha=0.7, mew=0, label=label)
        axes.set_yscale("log")
        plain_log(axes.yaxis)
        axes.set_xlabel("CHGCAR bytes per stored byte")
        axes.set_ylabel("NMAE on the native grid / %")
        axes.legend()
    return figure
