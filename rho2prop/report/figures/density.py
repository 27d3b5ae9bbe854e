"""Figures of the autoencoder: training, reconstruction errors, slices of densities."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rho2prop.report.numbers import percentage
from rho2prop.report.style import BLUE, GREEN, GREY, INK, ORANGE, plain_log, style

METHODS = {"autoencoder": "autoencoder", "fourier": "Fourier truncation", "zfp": "zfp"}
FIELD_NAMES = {"deformation": "deformation density", "promolecule": "promolecule", "atom_positions": "atom positions"}
FIELD_METHODS = METHODS | {
    f"{field}_{method}": f"{name} of the {text}"
    for field, text in FIELD_NAMES.items()
    for method, name in METHODS.items()
}
_COLOURS = {"autoencoder": BLUE, "fourier": ORANGE, "zfp": GREEN}


def training_curve(history: pd.DataFrame) -> Figure:
    """Training and validation loss of the autoencoder against the epoch, the best epoch marked."""
    best = history.loc[history["validation_loss"].idxmin()]
    with style():
        figure = Figure(figsize=(6.6, 3.0), layout="constrained")
        axes = figure.subplots()
        single: dict[str, Any] = {"marker": "o", "markersize": 3} if len(history) < 40 else {}
        axes.plot(history["epoch"], history["train_loss"], color=ORANGE, label="training", **single)
        axes.plot(history["epoch"], history["validation_loss"], color=BLUE, label="validation", ls="--", **single)
        axes.plot(
            best["epoch"],
            best["validation_loss"],
            "*",
            color=INK,
            markersize=11,
            label=f"best, epoch {best['epoch']:g}",
        )
        axes.set_yscale("log")
        plain_log(axes.yaxis)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
        axes.set_ylabel("loss")
        axes.legend()
    return figure


def reconstruction_errors(test: pd.DataFrame) -> Figure:
    """NMAE, ∫|ρ−ρ̂|/∫ρ, of each test material, by method.

    Parameters
    ----------
    test
        Columns method and nmae, test materials only.
    """
    methods = [method for method in FIELD_METHODS if method in set(test["method"])]
    rng = np.random.default_rng(0)  # scatter of the points across the bar, nothing else
    with style():
        figure = Figure(figsize=(7.2, 0.9 + 0.6 * len(methods)), layout="constrained")
        axes = figure.subplots()
        for row, method in enumerate(reversed(methods)):
            values = 100 * test.loc[test["method"] == method, "nmae"].dropna().to_numpy()
            axes.plot(
                values,
                row + rng.uniform(-0.26, 0.26, len(values)),
                ".",
                markersize=4,
                alpha=0.55,
                color=_COLOURS[method.split("_")[-1]],
                rasterized=len(values) > 1500,
            )
            axes.boxplot(
                values,
                positions=[row],
                orientation="horizontal",
                widths=0.62,
                showfliers=False,
                boxprops={"color": INK, "linewidth": 0.9},
                medianprops={"color": INK, "linewidth": 1.8},
                whiskerprops={"color": INK},
                capprops={"color": INK},
                manage_ticks=False,
            )
        axes.set_yticks(range(len(methods)), [FIELD_METHODS[method] for method in reversed(methods)])
        axes.set_xscale("log")
        plain_log(axes.xaxis)
        axes.set_xlabel("NMAE inside the cell / %")
        axes.grid(False, axis="y")
    return figure


def density_slices(slices: tuple[dict, ...]) -> Figure:
    """Planes through densities: original, reconstructed and their difference (Fig. 5 of the paper).

    Parameters
    ----------
    slices
        Each with ``original``, ``reconstructed``, ``difference`` in e/Å³, shape (n, n), ``edge_ang`` in Å,
        ``nmae`` and ``formula``. One row of three panels each; original and reconstructed share a
        scale, which goes with the square root so that bonds are seen beside the cores.
    """
    with style():
        figure = Figure(figsize=(8.4, 2.65 * len(slices)), layout="constrained")
        grid = figure.subplots(len(slices), 3, squeeze=False)
        for row, plane in zip(grid, slices, strict=True):
            top = max(plane["original"].max(), plane["reconstructed"].max(), 1e-12)
            norm = PowerNorm(0.5, vmin=0, vmax=top)
            widest = max(np.abs(plane["difference"]).max(), 1e-12)
            extent = (0, plane["edge_ang"], 0, plane["edge_ang"])
            shared = {"origin": "lower", "extent": extent, "interpolation": "bilinear"}
            images = [
                row[0].imshow(plane["original"].T, norm=norm, cmap="viridis", **shared),
                row[1].imshow(plane["reconstructed"].T, norm=norm, cmap="viridis", **shared),
                row[2].imshow(plane["difference"].T, vmin=-widest, vmax=widest, cmap="RdBu_r", **shared),
            ]
            titles = (
                f"{formula_text(plane['formula'])}  original",
                "reconstructed",
                f"difference ({percentage(plane['nmae'])})",
            )
            for axes, title in zip(row, titles, strict=True):
                axes.set_title(title, fontsize=9)
                axes.grid(False)
                axes.set_xlabel("x / Å")
                axes.tick_params(color=GREY)
            row[0].set_ylabel("y / Å")
            bar = figure.colorbar(images[1], ax=row[:2].tolist(), pad=0.01, aspect=18, ticks=_root_ticks(top))
            bar.set_label("ρ / e Å⁻³")
            bar.outline.set_visible(False)
            bar = figure.colorbar(images[2], ax=row[2], pad=0.02, aspect=18)
            bar.set_label("difference / e Å⁻³")
            bar.outline.set_visible(False)
    return figure


def _root_ticks(top: float) -> list[float]:
    ticks = [float(f"{top * fraction:.1g}") for fraction in (0.03, 0.2, 0.5, 0.9)]
    return [0.0, *ticks]


def formula_text(formula: str) -> str:
    """A formula with subscript digits: ``Mg2Pd`` becomes ``Mg₂Pd``."""
    return formula.translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))
