"""Figures of the data: crystal systems, elements, property distributions, cost."""

import re
from collections import Counter

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from scipy.stats import gaussian_kde

from rho2prop.core.targets import TARGETS
from rho2prop.report.numbers import duration
from rho2prop.report.style import BLUE, GREY, INK, ORANGE, SYMBOLS, VERMILION, panels, plain_log, style

CRYSTAL_SYSTEMS = ("cubic", "tetragonal", "orthorhombic", "hexagonal", "trigonal", "monoclinic", "triclinic")

# Rows of the periodic table, "." for an empty place.
_PERIODIC_TABLE = """
H . . . . . . . . . . . . . . . . He
Li Be . . . . . . . . . . B C N O F Ne
Na Mg . . . . . . . . . . Al Si P S Cl Ar
K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr
Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe
Cs Ba La Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn
Fr Ra Ac Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og
. . . Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu .
. . . Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr .
"""


def crystal_systems(materials: pd.DataFrame) -> Figure:
    """Number of materials per crystal system (Fig. 2 of the paper)."""
    counts = materials["crystal_system"].str.lower().value_counts()
    others = [name for name in counts.index if name not in CRYSTAL_SYSTEMS]
    names = [*CRYSTAL_SYSTEMS, *others]
    values = [int(counts.get(name, 0)) for name in names]
    with style():
        figure = Figure(figsize=(6.6, 2.8), layout="constrained")
        axes = figure.subplots()
        bars = axes.bar(names, values, color=BLUE, width=0.7)
        axes.bar_label(bars, [f"{value:,}" for value in values], padding=2, fontsize=8.5)
        axes.set_ylabel("number of materials")
        axes.grid(False, axis="x")
        axes.margins(y=0.12)
    return figure


def element_counts(materials: pd.DataFrame) -> Counter:
    """In how many materials each chemical element occurs."""
    return Counter(element for formula in materials["formula"] for element in set(re.findall(r"[A-Z][a-z]?", formula)))


def elements(materials: pd.DataFrame) -> Figure:
    """Periodic table, coloured by the number of materials that contain the element."""
    counts = element_counts(materials)
    with style():
        figure = Figure(figsize=(7.6, 3.7), layout="constrained")
        axes = figure.subplots()
        norm = LogNorm(1, max(2, *counts.values())) if counts else LogNorm(1, 2)
        colours = mpl.colormaps["cividis_r"]
        for row, line in enumerate(_PERIODIC_TABLE.split("\n")[1:-1]):
            y = -row - (0.4 if row > 6 else 0)
            for column, symbol in enumerate(line.split()):
                if symbol == ".":
                    continue
                number = counts.get(symbol, 0)
                face = colours(norm(number)) if number else "#F4F5F7"
                dark = number and norm(number) > 0.42
                axes.add_patch(mpl.patches.Rectangle((column, y), 0.94, 0.94, facecolor=face, edgecolor="none"))
                ink = "white" if dark else (INK if number else "#A9AFB8")
                axes.text(column + 0.47, y + 0.56, symbol, ha="center", va="center", fontsize=7.5, color=ink)
                if number:
                    axes.text(column + 0.47, y + 0.2, f"{number}", ha="center", va="center", fontsize=4.8, color=ink)
        axes.set_xlim(0, 18)
        axes.set_ylim(-8.5, 1)
        axes.set_aspect("equal")
        axes.set_axis_off()
        mappable = mpl.cm.ScalarMappable(norm, colours)
        bar = figure.colorbar(mappable, ax=axes, shrink=0.6, pad=0.01, label="materials with the element")
        bar.outline.set_visible(False)
        plain_log(bar.ax.yaxis)
    return figure


def target_distributions(materials: pd.DataFrame, targets: list[str]) -> Figure:
    """Histogram, kernel density estimate and box plot of each property (Fig. 3 of the paper).

    Parameters
    ----------
    materials
        Table with the property columns; blanks are left out.
    targets
        Columns with at least one value.
    """
    with style():
        figure, axes_list = panels(len(targets), size=(3.1, 2.5))
        for axes, target in zip(axes_list, targets, strict=True):
            values = materials[target].dropna().to_numpy()
            bins = np.histogram_bin_edges(values, bins=min(40, max(5, int(np.sqrt(len(values)) * 1.6))))
            axes.hist(values, bins=bins.tolist(), color=BLUE, alpha=0.45, edgecolor="white", linewidth=0.4)
            # A kernel density estimate of a handful of values would show the kernel, not the data.
            if len(values) >= 5 and np.std(values) > 0:
                grid = np.linspace(bins[0], bins[-1], 200)
                axes.plot(grid, gaussian_kde(values)(grid) * len(values) * (bins[1] - bins[0]), color=INK, lw=1.3)
            axes.set_ylim(0, axes.get_ylim()[1] * 1.35)
            inset = axes.inset_axes((0, 0.83, 1, 0.13), sharex=axes)
            inset.boxplot(
                values,
                orientation="horizontal",
                widths=0.6,
                patch_artist=True,
                boxprops={"facecolor": ORANGE, "edgecolor": INK, "linewidth": 0.7},
                medianprops={"color": INK},
                whiskerprops={"color": INK, "linewidth": 0.8},
                capprops={"color": INK, "linewidth": 0.8},
                flierprops={
                    "marker": ".",
                    "markersize": 2.5,
                    "markerfacecolor": GREY,
                    "markeredgecolor": GREY,
                },
            )
            inset.set_axis_off()
            axes.set_title(f"{SYMBOLS[target]}  {TARGETS[target].name}")
            axes.set_xlabel(TARGETS[target].unit)
            axes.set_ylabel("materials")
    return figure


def dft_cost(outcomes: pd.DataFrame) -> Figure:
    """Distribution of wall time and core hours of the DFT runs, converged and not."""
    with style():
        figure, axes_list = panels(2, 2, size=(3.6, 2.5))
        failed = outcomes["status"] != "converged"
        for axes, column, label in zip(
            axes_list, ("wall_time_s", "core_hours"), ("wall time / s", "cost / core hours"), strict=True
        ):
            known = outcomes[column].notna() & (outcomes[column] > 0)
            values = [outcomes.loc[known & mask, column].to_numpy() for mask in (~failed, failed)]
            everything = np.concatenate(values)
            if everything.min() == everything.max():
                bins = everything[0] * np.array([0.5, 2.0])
            else:
                low, high = np.log10(everything.min()), np.log10(everything.max())
                bins = np.logspace(low, high, max(6, min(30, int(np.sqrt(len(everything)) * 2))))
            axes.hist(
                values,
                bins=bins,
                stacked=True,
                color=[BLUE, VERMILION],
                label=["converged", "set aside"],
                alpha=0.85,
            )
            axes.set_xscale("log")
            plain_log(axes.xaxis)
            axes.set_xlabel(label)
            axes.set_ylabel("materials")
        if failed.any():
            axes_list[0].legend()
    return figure


def cost_by_rule(table: pd.DataFrame) -> Figure:
    """Summed wall time and processor time per rule.

    Parameters
    ----------
    table
        Index rule, columns wall_s and cpu_s (sums over jobs), by falling wall_s.
    """
    table = table[::-1]
    position = np.arange(len(table))
    with style():
        figure = Figure(figsize=(7.2, 1.0 + 0.36 * len(table)), layout="constrained")
        axes = figure.subplots()
        for shift, column, colour, label in (
            (0.19, "wall_s", BLUE, "wall time"),
            (-0.19, "cpu_s", ORANGE, "processor time"),
        ):
            values = table[column].fillna(0)
            bars = axes.barh(position + shift, values / 60, height=0.36, color=colour, label=label)
            axes.bar_label(bars, [duration(value) for value in table[column]], padding=3, fontsize=7)
        axes.set_yticks(position, table.index)
        axes.set_xlabel("minutes, summed over jobs")
        axes.grid(False, axis="y")
        axes.margins(x=0.14)
        axes.legend(loc="lower right")
    return figure
