"""What the models rely on: share of each feature block in the SHAP values of the test parts."""

import json
from itertools import combinations, product
from math import factorial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rho2prop.core.targets import FORMATION_ENERGY
from rho2prop.densities.field_names import field_of
from rho2prop.features.design_matrix import COHESIVE_ENERGY, LATENT, BlockData, DesignMatrix, block_names, load_design
from rho2prop.materials.splits import derived_seed
from rho2prop.models.families import LIGHTGBM, Predictor, load, load_boosters
from rho2prop.models.registry import ATTENTION_CNN

if TYPE_CHECKING:
    from rho2prop.models.network_training import TrainedNetwork

CNN_ROWS, CNN_BACKGROUND, CNN_SAMPLES = (
    40,
    60,
    50,
)  # per fold: expected gradients converge slowly and cost backward passes
BLOCK_ROWS, BLOCK_BACKGROUND = 40, 25  # per fold: rows explained, training rows that absent blocks are drawn from
COLUMNS = ["model", "features", "split", "target", "block", "share", "net_share"]


def block_importance(folder: Path | str, splits: pd.DataFrame, blocks: BlockData, seed: int) -> pd.DataFrame:
    """Importance of each block for each target of one regression.

    LightGBM by exact TreeSHAP (S. M. Lundberg et al., Nat. Mach. Intell. 2, 56 (2020)) on all test rows; the
    attention CNN by expected gradients (``shap.GradientExplainer``) on at most 40 test rows of each fold; other
    families by exact Shapley values of whole blocks, absent blocks drawn from training rows, as many rows.

    Parameters
    ----------
    folder
        Folder that ``regression.run`` wrote, of a model with features.
    splits
        Table ``results/splits.csv``.
    blocks
        Features by block.
    seed
        Seed of the choice of rows and of the expected gradients.

    Returns
    -------
    pandas.DataFrame
        Columns ``model, features, split, target, block, share, net_share``. ``share``: mean over rows of Σ|φ|
        over the inputs of the block, divided by its sum over blocks. ``net_share``: the same of |Σφ|; inputs
        of a block that work against each other cancel there, as they do in the prediction; values of whole blocks
        have no inputs that could, there both are equal.
    """
    folder = Path(folder)
    summary = json.loads((folder / "targets.json").read_text())
    model, features, split = (summary[name] for name in ("model", "features", "split"))
    sums = {}
    for fold in summary["n_train"]:
        record = json.loads((folder / "folds" / fold / "fold.json").read_text())
        rows = splits[(splits["split"] == split) & (splits["fold"] == fold)]
        ids = {part: sorted(group) for part, group in rows.groupby("part")["material_id"]}
        design = load_design(folder / "folds" / fold)
        test = design.apply(blocks, split, fold, ids["test"])
        train = design.apply(blocks, split, fold, ids["train"])
        fold_seed = derived_seed(seed, "importance", features, split, fold)
        if model == LIGHTGBM:
            contributions = _tree_contributions(folder / "folds" / fold, record, test)
        elif model == ATTENTION_CNN:
            volumes = [block for block in block_names(features) if field_of(block)[1] == LATENT]
            from rho2prop.models.network_training import load_network

            contributions = _cnn_contributions(load_network(folder / "folds" / fold), volumes, train, test, fold_seed)
        else:
            test = test.rows(np.sort(np.random.default_rng(fold_seed).permutation(len(test.tabular))[:BLOCK_ROWS]))
            contributions = _block_contributions(load(folder / "folds" / fold, record), train, test, fold_seed)
        if test.energy_zero is not None and model != ATTENTION_CNN and FORMATION_ENERGY in record["targets"]:
            part = np.abs(test.energy_zero - train.energy_zero.mean())  # exact: the prediction is a sum with it
            contributions[FORMATION_ENERGY, COHESIVE_ENERGY] = part, part
        for key, (absolute, net) in contributions.items():
            sums[key] = sums.get(key, np.zeros(2)) + np.array([absolute.sum(), net.sum()])
    rows = [
        {"model": model, "features": features, "split": split, "target": target, "block": block}
        | dict(zip(("share", "net_share"), value, strict=True))
        for (target, block), value in sums.items()
    ]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    columns = ["share", "net_share"]
    totals = frame.groupby("target")[columns].transform("sum")
    frame[columns] = frame[columns] / totals.where(totals > 0)  # NaN where a model ignores every input
    return frame


def _tree_contributions(folder: Path, record: dict, test: DesignMatrix) -> dict:
    result = {}
    column_blocks = np.array(test.column_blocks)
    for target, booster in load_boosters(folder, record["targets"]).items():
        shap_values = booster.predict(test.tabular, pred_contrib=True)[:, :-1]  # the last column is the expected value
        for block in dict.fromkeys(test.column_blocks):
            part = shap_values[:, column_blocks == block]
            result[target, block] = np.abs(part).sum(axis=1), np.abs(part.sum(axis=1))
    return result


def _block_contributions(predictor: Predictor, train: DesignMatrix, test: DesignMatrix, seed: int) -> dict:
    """Exact Shapley values of the blocks, from the predictions for all their subsets."""
    names, column_blocks = list(dict.fromkeys(test.column_blocks)), np.array(test.column_blocks)
    background = np.random.default_rng(seed).permutation(len(train.tabular))[:BLOCK_BACKGROUND]

    def mean_prediction(present: frozenset) -> dict[str, np.ndarray]:
        mixed = np.repeat(train.tabular[background][None], len(test.tabular), axis=0)  # (test, background, columns)
        own = np.isin(column_blocks, list(present))
        mixed[:, :, own] = test.tabular[:, None, own]
        predicted = predictor(DesignMatrix(mixed.reshape(-1, mixed.shape[2]), test.column_blocks, None))
        return {target: values.reshape(mixed.shape[:2]).mean(axis=1) for target, values in predicted.items()}

    subsets = [frozenset(chosen) for n in range(len(names) + 1) for chosen in combinations(names, n)]
    values = {subset: mean_prediction(subset) for subset in subsets}
    result = {}
    for target, block in product(values[frozenset()], names):
        total = np.zeros(len(test.tabular))
        for subset in subsets:
            if block not in subset:
                weight = factorial(len(subset)) * factorial(len(names) - len(subset) - 1) / factorial(len(names))
                total += weight * (values[subset | {block}][target] - values[subset][target])
        result[target, block] = np.abs(total), np.abs(total)
    return result


def _cnn_contributions(
    trained: "TrainedNetwork", volumes: list[str], train: DesignMatrix, test: DesignMatrix, seed: int
) -> dict:
    import shap
    import torch

    rng = np.random.default_rng(seed)
    background = train.rows(np.sort(rng.permutation(len(train.tabular))[:CNN_BACKGROUND]))
    explained = test.rows(np.sort(rng.permutation(len(test.tabular))[:CNN_ROWS]))

    class Ordered(torch.nn.Module):
        """shap passes only the inputs that exist, in order."""

        def __init__(self):
            super().__init__()
            self.network = trained.network

        def forward(self, *inputs):
            config = self.network.members[0].config
            return self.network(inputs[0] if config.latent_channels else None, inputs[-1] if config.n_tabular else None)

    def inputs(matrix: DesignMatrix) -> list:
        arrays = [] if matrix.latent is None else [matrix.latent]
        arrays += [matrix.tabular] if matrix.tabular.shape[1] else []
        return [torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)) for array in arrays]

    explainer = shap.GradientExplainer(Ordered().eval(), inputs(background))
    values = explainer.shap_values(inputs(explained), nsamples=CNN_SAMPLES, rseed=seed % 2**31)
    values = [values] if isinstance(values, np.ndarray) else values  # a single input comes without its list
    result = {}
    column_blocks = np.array(test.column_blocks)
    for i, target in enumerate(trained.targets):
        per_input = [array[..., i].reshape(len(array), -1) for array in values]  # (N, inputs)
        if volumes:  # their channels follow each other
            for block, part in zip(volumes, np.split(per_input.pop(0), len(volumes), axis=1), strict=True):
                result[target, block] = np.abs(part).sum(axis=1), np.abs(part.sum(axis=1))
        for block in dict.fromkeys(test.column_blocks):
            part = per_input[0][:, column_blocks == block]
            result[target, block] = np.abs(part).sum(axis=1), np.abs(part.sum(axis=1))
    return result
