"""New materials: features of each in its own folder, and predictions for all."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rho2prop.autoencoder.encoding import encode, encode_averaged, read_latents, write_latents
from rho2prop.autoencoder.training import load_autoencoder
from rho2prop.core.atomic_files import atomic
from rho2prop.core.tables import write_table
from rho2prop.densities.crystal_description import CrystalDescription
from rho2prop.densities.density import read_npz
from rho2prop.densities.grids import Grid
from rho2prop.dft.outcome import collect, read_outcome
from rho2prop.evaluation.final_models import read_offered
from rho2prop.evaluation.fold_results import read_summary
from rho2prop.evaluation.settings import Choice
from rho2prop.features.block_files import write_block
from rho2prop.features.description import describe
from rho2prop.features.design_matrix import BlockData, Latents, read_blocks
from rho2prop.features.registry import BLOCKS, TABLE, reads_latents
from rho2prop.materials.collection import DENSITY_FILE, material_row, read_materials, require_one_kind
from rho2prop.prediction.final_fit import COLUMNS, predict


def describe_material(
    material_id: str,
    dft: Path | str,
    autoencoders: list[str],
    structure_path: str,
    blocks: list[str],
    grid: Grid,
    folder: Path | str,
) -> None:
    """Write the feature blocks and the latent of one material; an empty folder where the calculation failed.

    Parameters
    ----------
    material_id
        Id in the materials table.
    dft
        Its DFT folder.
    autoencoders
        Folders of the trained autoencoders, named by scope: ``all``, and those of the folds where each has its own.
    structure_path
        Its structure file, for the record.
    blocks
        Feature blocks that the chosen models read.
    grid
        The cube that the autoencoder reads.
    folder
        Folder to write: ``material.csv``, ``<block>.csv`` and ``<scope>.npz`` if converged, else nothing in it.
    """
    with atomic(folder) as temporary:
        temporary.mkdir()
        if read_outcome(dft).status != "converged":
            return
        density = read_npz(Path(dft) / DENSITY_FILE)
        crystal = CrystalDescription(density, material_id)
        row = pd.DataFrame([material_row(material_id, density, structure_path, {})])
        write_table(row, temporary / "material.csv")
        for block, table in describe(crystal, material_id, set(blocks)).items():
            write_block(table, temporary / f"{block}.csv")
        for autoencoder in map(Path, autoencoders):
            model, _ = load_autoencoder(autoencoder)
            latents = encode(model, density, grid)[None], encode_averaged(model, crystal, grid)[None]
            write_latents(temporary / f"{autoencoder.name}.npz", [material_id], *latents)


@dataclass(frozen=True)
class PredictionFiles:
    """Files of a run from which new materials are predicted.

    Parameters
    ----------
    materials
        Table of the training materials: the new densities must be of their kind and engine.
    final, folds
        Regression folders of the final models and of the fold models, in the order of the choices.
    dft, new
        DFT folders of the new materials and the folders that ``describe_material`` wrote, both named by id.
    judged
        ``results/final_models.csv``: what is not offered is not predicted.
    """

    materials: Path | str
    final: list[str]
    folds: list[str]
    dft: list[str]
    new: list[str]
    judged: Path | str


def predict_all(
    choices: Sequence[Choice], files: PredictionFiles, predictions_path: Path | str, outcomes_path: Path | str
) -> None:
    """Predict all new materials with each selected model.

    Parameters
    ----------
    choices
        Models and feature sets, as in the configuration key ``predict``.
    files
        Of the run.
    predictions_path, outcomes_path
        Tables to write; without new materials they have a header only.
    """
    outcomes = collect({Path(folder).name: folder for folder in files.dft})
    folders = {Path(folder).name: Path(folder) for folder in files.new}
    converged = [folders[name] for name in outcomes.loc[outcomes["status"] == "converged", "material_id"]]
    frames = [pd.DataFrame(columns=COLUMNS)]
    offered = read_offered(files.judged)
    if converged:
        materials = pd.concat([read_materials(folder / "material.csv") for folder in converged])
        require_one_kind(pd.concat([read_materials(files.materials), materials]))
        for choice, final, folds in zip(choices, files.final, files.folds, strict=True):
            features = _features(converged, read_summary(final)["blocks"])
            frames.append(predict(choice, final, folds, features, materials, offered))
    write_table(outcomes, outcomes_path)
    write_table(pd.concat([frame for frame in frames if len(frame)] or frames), predictions_path)


def _features(folders: list[Path], blocks: list[str]) -> BlockData:
    names = [name for name in blocks if BLOCKS[name].form == TABLE]
    single = [read_blocks({name: folder / f"{name}.csv" for name in names}, {}) for folder in folders]
    tables = {name: pd.concat([features.tables[name] for features in single]) for name in names}
    if not reads_latents(blocks):
        return BlockData(tables)
    scopes = [path.stem for path in folders[0].glob("*.npz")]
    latents: dict[str, Latents | Path] = {}
    for scope in scopes:
        arrays = [read_latents(folder / f"{scope}.npz") for folder in folders]
        ids, values = (np.concatenate([one[name] for one in arrays]) for name in ("material_ids", "averaged"))
        final_or_all = "all-final" if scope == "all" and len(scopes) > 1 else scope
        latents[final_or_all] = Latents(ids, values)
    return BlockData(tables, latents)
