"""Section on the autoencoder: training, reconstruction, slices."""

from collections.abc import Mapping

import pandas as pd

from rho2prop.report import paper
from rho2prop.report.blocks import Figure, Heading, Row, Section, Table, Text
from rho2prop.report.data import Run
from rho2prop.report.figures import density
from rho2prop.report.figures.density import FIELD_METHODS, METHODS, formula_text
from rho2prop.report.numbers import count, decimals, duration, percentage, significant


def autoencoder(run: Run) -> Section:
    """Training curve, reconstruction errors compared with two classical compressors, slices."""
    section = Section("autoencoder", "Autoencoder: compressed densities")
    if run.history is None and run.reconstruction is None and not run.slices:
        section.blocks.append(Text("This run trained no autoencoder.", "missing"))
        return section
    section.blocks += [Text(_network_text(run.config)), *_training(run.history)]
    section.blocks += [Heading("Reconstruction"), *_reconstruction(run.reconstruction), *_slices(run)]
    return section


def _network_text(config: Mapping) -> str:
    network, grid = config["autoencoder"], config["grid"]
    spacing = f"{grid['voxel_ang']} Å per voxel" if grid["kind"] == "window" else "native spacing, zero-padded"
    voxels, latent = grid["size"], network["latent_size"]
    return (
        f"Grid “{grid['kind']}” of {voxels}³ voxels ({spacing}); network “{network['network']}”; latent of "
        f"16 × {latent}³ numbers, one per {significant(voxels**3 / (16 * latent**3))} voxels."
    )


def _training(history: pd.DataFrame | None) -> list:
    if history is None or history.empty or history["validation_loss"].isna().all():
        return [Text("No training history was found, so there is no training curve.", "missing")]
    best = history.loc[history["validation_loss"].idxmin()]
    text = (
        f"Trained for {count(len(history), 'epoch')} ({duration(history['seconds'].sum())}); lowest validation loss "
        f"{significant(best['validation_loss'])} at epoch {best['epoch']:g}, where the training loss was "
        f"{significant(best['train_loss'])}."
    )
    return [
        Text(text),
        Figure(
            "training-curve",
            density.training_curve(history),
            "Loss on training and validation part.",
            f"Curves of training and validation loss against the epoch. {text}",
        ),
    ]


def _reconstruction(table: pd.DataFrame | None) -> list:
    test = None if table is None else table[table["part"] == "test"]
    if test is None or test.empty:
        return [Text("No material was held out to test the autoencoder, so no error is given.", "missing")]
    rows = []
    for method, name in FIELD_METHODS.items():
        part = test[test["method"] == method]
        if part.empty:
            continue
        relative = 100 * part["nmae"]
        numbers = (part["bytes"].mean(), part["mse"].mean(), part["mae"].mean())
        spread = (relative.mean(), relative.median(), relative.quantile(0.95))
        cells = (
            f"{len(part):,}",
            decimals(numbers[0], 0),
            *(significant(x) for x in (*numbers[1:], *spread)),
        )
        rows.append((spread[0], Row((name, *cells))))
    best = min(range(len(rows)), key=lambda index: rows[index][0])
    marked = [Row(row.cells, frozenset({5}) if index == best else frozenset()) for index, (_, row) in enumerate(rows)]
    published = (significant(paper.RECONSTRUCTION_MSE, 2), significant(paper.RECONSTRUCTION_MAE))
    name = "paper’s autoencoder, its materials, 128³ box"
    marked.append(Row((name, "", "", *published, "–", "–", "–"), kind="paper"))
    missing = [name for method, name in METHODS.items() if method not in set(test["method"])]
    blocks = [
        Table(
            "Errors on the test part at equal numbers of bytes. NMAE (normalised mean absolute error): ∫|ρ−ρ̂| / ∫ρ "
            "inside the real cell. Where only the deformation density is compressed, the promolecule is taken as known "
            "(Δ-SAED, arXiv:2510.00788).",
            (
                "method",
                "materials",
                "bytes, mean",
                "MSE / e² Å⁻⁶",
                "MAE / e Å⁻³",
                "NMAE, mean / %",
                "median / %",
                "95 % below / %",
            ),
            tuple(marked),
        ),
        Text(
            "The paper’s errors are means over zero-padded boxes, which are mostly empty. Only the NMAE inside the "
            "cell can be compared between grids.",
            "note",
        ),
        Figure(
            "reconstruction-errors",
            density.reconstruction_errors(test),
            "Reconstruction error (NMAE) of each test material at equal bytes (box: quartiles and median).",
            "Box plots of the NMAE; mean in percent: " + ", ".join(f"{row.cells[0]} {row.cells[5]}" for _, row in rows),
        ),
    ]
    if missing:
        blocks.append(Text(f"Not compared in this run: {', '.join(missing)}.", "missing"))
    return blocks


def _slices(run: Run) -> list:
    if not run.slices:
        return [Text("No density slices were written for this run.", "missing")]
    described = ", ".join(
        f"{formula_text(plane['formula'])} ({plane['material_id']}, NMAE {percentage(plane['nmae'])})"
        for plane in run.slices
    )
    return [
        Figure(
            "density-slices",
            density.density_slices(run.slices),
            f"Slices of test materials: {described}. Original and reconstructed density share a colour scale that is "
            "proportional to the square root of the density; their difference has its own (Fig. 5 of the paper).",
            f"Colour maps of original and reconstructed density and of their difference for {described}.",
            png=True,
        )
    ]
