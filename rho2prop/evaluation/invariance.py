"""Change of predictions between different descriptions of the same crystal."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from rho2prop.autoencoder.encoding import encode_averaged
from rho2prop.autoencoder.network import Autoencoder
from rho2prop.autoencoder.training import load_autoencoder
from rho2prop.core.errors import InputError
from rho2prop.densities.crystal_description import CrystalDescription
from rho2prop.densities.density import Density, read_npz
from rho2prop.densities.grids import Grid
from rho2prop.densities.transformations import ROTATIONS, rolled, rotated, shifted, supercell
from rho2prop.evaluation.cross_validation import predict_fold
from rho2prop.evaluation.fold_results import is_trained, read_summary
from rho2prop.features.description import describe
from rho2prop.features.design_matrix import BlockData, Latents
from rho2prop.features.registry import BLOCKS, TABLE, reads_latents
from rho2prop.materials.splits import FINAL_FOLD, derived_seed

N_SHIFTS = 3  # of each sort
SUPERCELLS = ((1, 1, 2), (2, 2, 2))
REFERENCE = "as given"
COLUMNS = ["material_id", "model", "features", "grid", "kind", "transformation", "target", "value", "relative_change"]


@dataclass(frozen=True)
class Transformation:
    """One description of a crystal; ``kind`` is rotation, shift, supercell, or "" for the crystal as given."""

    kind: str
    name: str
    density: Density


def sample(material_ids: list[str], n_materials: int, seed: int) -> list[str]:
    """Ids of randomly drawn materials, independent of the order of the ids."""
    rng = np.random.default_rng(derived_seed(seed, "robustness"))
    drawn = rng.permutation(sorted(material_ids))[:n_materials]
    return sorted(map(str, drawn))


def transformations(density: Density, seed: int) -> Iterator[Transformation]:
    """Yield the given crystal, its 23 other rotations, shifts by grid points and by fractions, and supercells."""
    yield Transformation("", REFERENCE, density)
    for number, rotation in enumerate(ROTATIONS[1:], start=1):
        yield Transformation("rotation", f"rotation {number}", rotated(density, rotation))
    rng = np.random.default_rng(seed)
    for _ in range(N_SHIFTS):
        x, y, z = (int(rng.integers(1, n)) for n in density.values.shape)
        yield Transformation("shift", f"shift {x} {y} {z} points", rolled(density, (x, y, z)))
    for _ in range(N_SHIFTS):
        fractions = rng.uniform(0.05, 0.95, 3).round(4)
        name = "shift " + " ".join(f"{fraction:.4f}" for fraction in fractions)
        yield Transformation("shift", name, shifted(density, fractions))
    for repeats in SUPERCELLS:
        name = "supercell " + "×".join(map(str, repeats))
        yield Transformation("supercell", name, supercell(density, repeats))


def evaluate(
    regressions: list[Path | str],
    autoencoder: Path | str,
    densities: dict[str, Path],
    seed: int,
    threads: int = 1,
) -> pd.DataFrame:
    """Predictions of final models for many descriptions of a few crystals.

    Parameters
    ----------
    regressions
        Folders ``<model>/<features>/all`` of the final models; those that could not be trained are left out.
    autoencoder
        Folder of the autoencoder whose latents they were trained on.
    densities
        Material id to density file of the sample.
    seed
        Seed of the shifts.
    threads
        CPU threads of the encoder.

    Returns
    -------
    pandas.DataFrame
        One row per material, model, description and target. ``grid``: kind of the grid of a model that reads latents,
        else blank. ``relative_change``: value divided by that of the crystal as given, minus 1.
    """
    torch.set_num_threads(threads)
    model, record = load_autoencoder(autoencoder)
    grid = Grid(**record["grid"])
    chosen = [_Choice(Path(folder)) for folder in regressions if is_trained(folder)]
    frames = [pd.DataFrame(columns=COLUMNS)]
    with tqdm(total=len(densities) * _count(), desc="invariance", unit="description") as progress:
        for material_id, path in densities.items():
            described = []
            for transformation in transformations(read_npz(path), derived_seed(seed, "robustness", material_id)):
                described.append(_Description(transformation, model, grid, {b for c in chosen for b in c.blocks}))
                progress.update()
            frames += [_predicted(material_id, choice, described, grid.kind) for choice in chosen]
    return pd.concat([frame for frame in frames if len(frame)] or frames, ignore_index=True)[COLUMNS]


def _count() -> int:
    return len(ROTATIONS) + 2 * N_SHIFTS + len(SUPERCELLS)


class _Choice:
    """A final model and the blocks that it reads."""

    def __init__(self, folder: Path):
        fold = folder / "folds" / FINAL_FOLD
        if not fold.is_dir():
            fix = "Give the folder of a model that was fitted on the split all"
            raise InputError(folder, "holds no final model", fix)
        self.fold = fold
        summary = read_summary(folder)
        self.model, self.features, self.blocks = (summary[name] for name in ("model", "features", "blocks"))

    @cached_property
    def reads_latents(self) -> bool:
        return reads_latents(self.blocks)


class _Description:
    """Features of one description of a crystal that some model reads."""

    def __init__(self, transformation: Transformation, model: Autoencoder, grid: Grid, blocks: set[str]):
        self.kind, self.name = transformation.kind, transformation.name
        crystal = CrystalDescription(transformation.density, self.name)
        self.tables = describe(crystal, self.name, blocks)
        self.latent = encode_averaged(model, crystal, grid) if reads_latents(blocks) else None


def _predicted(material_id: str, choice: _Choice, described: list[_Description], grid_kind: str) -> pd.DataFrame:
    values = _values(choice, described)
    change = values / values.loc[REFERENCE] - 1
    frames = [
        pd.DataFrame(
            {
                "material_id": material_id,
                "model": choice.model,
                "features": choice.features,
                "grid": grid_kind if choice.reads_latents else "",
                "kind": [description.kind for description in described],
                "transformation": values.index,
                "target": target,
                "value": values[target].to_numpy(),
                "relative_change": change[target].to_numpy(),
            }
        )
        for target in values
    ]
    return pd.concat(frames)


def _values(choice: _Choice, described: list[_Description]) -> pd.DataFrame:
    """Predictions, index transformation, one column per target."""
    names = [description.name for description in described]
    tables = {
        block: pd.concat([description.tables[block] for description in described])
        for block in choice.blocks
        if BLOCKS[block].form == TABLE
    }
    latents: dict[str, Latents | Path] = {}
    if choice.reads_latents:
        latents["all"] = Latents(np.array(names), np.stack([x.latent for x in described if x.latent is not None]))
    return predict_fold(choice.fold, BlockData(tables, latents), names)


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Largest and typical change per model and kind of description.

    Parameters
    ----------
    table
        As ``evaluate`` returns it.

    Returns
    -------
    pandas.DataFrame
        Columns ``model, features, grid, kind, largest, rms, n``: of ``|relative_change|`` over materials,
        targets and descriptions of that kind.
    """
    changed = table[table["kind"] != ""].assign(size=lambda rows: rows["relative_change"].abs())
    groups = changed.groupby(["model", "features", "grid", "kind"], sort=False)["size"]
    changes = groups.agg(largest="max", rms=lambda size: float(np.sqrt(np.mean(size**2))), n="count")
    return changes.reset_index()
