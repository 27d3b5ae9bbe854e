"""Sections on stored densities and on invariance under the description of a crystal."""

import numpy as np
import pandas as pd

from rho2prop.evaluation.invariance import summarise
from rho2prop.features.feature_sets import set_label
from rho2prop.models.registry import model_label
from rho2prop.report.blocks import Figure, Row, Section, Table, Text
from rho2prop.report.figures import trust
from rho2prop.report.figures.trust import BAR_PERCENT, KINDS, PAPER_PERCENT
from rho2prop.report.numbers import DASH, count, decimals, significant

GROUP = ["model", "features", "grid"]


def invariance(table: pd.DataFrame | None) -> Section:
    """Change of predictions when the same crystal is rotated, shifted or described by a supercell.

    Parameters
    ----------
    table
        ``results/invariance.csv``, or None.
    """
    section = Section("invariance", "Invariance: one crystal, many descriptions")
    if table is None or table.empty:
        section.blocks.append(Text("The invariance of the predictions was not evaluated in this run.", "missing"))
        return section
    summary = summarise(table)
    labels = {key: _label(*key) for key in summary[GROUP].drop_duplicates().itertuples(index=False, name=None)}
    rows, worst = [], {}
    for key, label in labels.items():
        of_model = summary[(summary[GROUP] == pd.Series(key, index=GROUP)).all(axis=1)].set_index("kind")
        cells, bold = [label], set()
        for kind in KINDS:
            largest, rms = (
                (100 * of_model.loc[kind, name] for name in ("largest", "rms"))
                if kind in of_model.index
                else (np.nan, np.nan)
            )
            cells += [_percent(largest), _percent(rms)]
            if largest <= BAR_PERCENT:
                bold.add(len(cells) - 2)
        worst[label] = 100 * of_model["largest"].max()
        cells.append("yes" if worst[label] <= BAR_PERCENT else "no")
        rows.append(Row(tuple(cells), frozenset(bold)))
    rows.append(Row(("paper, rotations of the padded box", "up to 5", *[DASH] * 6), kind="paper"))
    n_descriptions = table.loc[table["kind"] != "", "transformation"].groupby(table["material_id"]).nunique().max()
    section.blocks += [
        Text(_introduction(table, n_descriptions)),
        Text(_verdict(worst)),
        Figure(
            "invariance",
            trust.invariance(table, {key: _label(*key) for key in labels}),
            f"Change of each prediction relative to that for the crystal as given (bar: the largest; dashed: "
            f"{BAR_PERCENT:g} %, our limit; dotted: {PAPER_PERCENT:g} %, the paper’s scatter). Changes below "
            f"{trust.FLOOR_PERCENT:g} %, including exact zeros, are drawn at that value.",
            "Relative changes of predictions by model. "
            + " ".join(f"{k}: at most {_percent(v)} %." for k, v in worst.items()),
        ),
        Table(
            f"Change of predictions in percent: largest and root mean square; bold: at most {BAR_PERCENT:g} %.",
            (
                "model, features",
                *(f"{title}, {what}" for title in KINDS.values() for what in ("largest", "rms")),
                f"all ≤ {BAR_PERCENT:g} %",
            ),
            tuple(rows),
        ),
        *_notes(table),
    ]
    return section


def _introduction(table: pd.DataFrame, n_descriptions: int) -> str:
    materials = table["material_id"].nunique()
    return (
        f"No property depends on how a crystal is described. For {count(materials, 'material')} the final models "
        f"predicted from {n_descriptions} other descriptions of the same density: the 23 other rotations of a cube "
        "(crystal and cell vectors rotated together, as a rotated array), shifts of the origin by whole grid points "
        "and by fractions of a cell (by Fourier phases), and the supercells 1×1×2 and 2×2×2."
    )


def _verdict(worst: dict[str, float]) -> str:
    kept = [label for label, percent in worst.items() if percent <= BAR_PERCENT]
    broken = {label: percent for label, percent in worst.items() if not percent <= BAR_PERCENT}
    parts = []
    if kept:
        parts.append(f"Within {BAR_PERCENT:g} % for every description: {'; '.join(kept)}.")
    if broken:
        listed = "; ".join(f"{label} ({_percent(percent)} %)" for label, percent in broken.items())
        parts.append(f"Not within {BAR_PERCENT:g} %, with the largest change: {listed}.")
    return " ".join(parts)


def _notes(table: pd.DataFrame) -> list[Text]:
    notes = []
    if (table["grid"] == "window").any():
        notes.append(
            Text(
                "A convolutional network sees the orientation of the crystal in its window and the position of its "
                "origin. In training and in prediction the models therefore read the mean latent over the 24 rotations "
                "of the window, centred in turn on each atom of the rarest element. Fingerprints are computed on grids "
                "that start at these atoms.",
                "note",
            )
        )
    if table.loc[table["model"] == "lightgbm", "relative_change"].abs().max() > 0:
        notes.append(
            Text(
                "Trees are step functions: a feature that crosses a threshold by rounding or resampling noise changes "
                "a prediction by a whole step.",
                "note",
            )
        )
    return notes


def latent_database(table: pd.DataFrame | None) -> Section:
    """Size of the latent database against CHGCARs, and the error of what it decodes to.

    Parameters
    ----------
    table
        ``results/latent_database.csv``, or None.
    """
    section = Section("latent-database", "Latent database: stored densities")
    if table is None or table.empty:
        section.blocks.append(Text("This run wrote no latent database.", "missing"))
        return section
    stored, chgcar = table["bytes_database"].sum(), table["bytes_chgcar"].sum()
    section.blocks.append(
        Text(
            f"{count(len(table), 'material')} in one file of {decimals(stored / 1e6, 2)} MB "
            f"({decimals(stored / len(table) / 1e3, 1)} kB each). As CHGCAR files the densities take "
            f"{decimals(chgcar / 1e6, 1)} MB, {decimals(chgcar / stored, 1)} times as much (paper: 117 times)."
        )
    )
    measured = table[table["nmae"].notna()]
    refused = table[table["reason"] != ""]
    if measured.empty:
        section.blocks.append(Text("No held-out material could be decoded, so no error is given.", "missing"))
    else:
        section.blocks += _errors(measured)
    if len(refused):
        reasons = f"{count(len(refused), 'held-out material')} cannot be decoded; the first is "
        section.blocks.append(
            Text(f"{reasons}{refused['material_id'].iloc[0]}: {refused['reason'].iloc[0]}.", "missing")
        )
    return section


def _errors(measured: pd.DataFrame) -> list:
    rows = []
    for column, name in (
        ("nmae", "stored latent, decoded to the native grid"),
        ("nmae_window", "sampling grid alone, without the network"),
    ):
        percent = 100 * measured[column]
        spread = (percent.mean(), percent.median(), percent.quantile(0.95), percent.max())
        rows.append(Row((name, *(significant(value) for value in spread))))
    change = 100 * (measured["electron_factor"] - 1).abs()
    text = (
        f"Errors for {count(len(measured), 'material')} that the autoencoder was not trained on. Decoded densities are "
        "rescaled to their number of electrons; before rescaling it deviated by "
        f"{significant(change.mean())} % on average, {significant(change.max())} % at most."
    )
    return [
        Table(
            "NMAE, ∫|ρ−ρ̂| / ∫ρ over the native grid, in percent.",
            ("stage", "mean", "median", "95 % below", "largest"),
            tuple(rows),
        ),
        Text(text),
        Figure(
            "stored-errors",
            trust.stored_errors(measured),
            "NMAE of decoded densities and of the sampling grid alone, against the compression ratio (held-out "
            "materials).",
            f"NMAE against the compression ratio. {text}",
        ),
    ]


def _label(model: str, features: str, grid: str) -> str:
    return f"{model_label(model)}, {set_label(features)}" + (f" ({grid})" if grid else "")


def _percent(value: float) -> str:
    if not np.isfinite(value):
        return DASH
    return "0" if value == 0 else ("< 0.001" if value < 1e-3 else significant(value, 2))
