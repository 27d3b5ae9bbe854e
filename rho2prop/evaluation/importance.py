"""Importance: share of each feature block in the SHAP values of the test parts."""

import json
from itertools import combinations, product
from math import factorial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd

from rho2prop.core.errors import InputError
from rho2prop.core.targets import ATOMIZATION_ENERGY
from rho2prop.evaluation.cross_validation import block_key
from rho2prop.evaluation.fold_results import read_summary
from rho2prop.features.design_matrix import BlockData, DesignMatrix, load_design
from rho2prop.features.registry import BLOCKS, COHESIVE_ENERGY, LATENT
from rho2prop.materials.splits import derived_seed
from rho2prop.models.estimator import Predictor, estimator_class, load
from rho2prop.models.registry import BY_GRADIENTS, BY_TREES, MODELS

if TYPE_CHECKING:  # their libraries are imported for their own models only
    from rho2prop.models.boosting import Boosting
    from rho2prop.models.network_training import NetworkModel, TrainedNetwork

CNN_ROWS, CNN_BACKGROUND, CNN_SAMPLES = (
    40,
    60,
    50,
)  # per fold: expected gradients converge slowly and cost backward passes
BLOCK_ROWS, BLOCK_BACKGROUND = 40, 25  # per fold: rows explained, training rows that absent blocks are drawn from
COLUMNS = ["model", "features", "split", "target", "block", "share", "net_share"]


def block_importance(folder: Path | str, splits: pd.DataFrame, features: BlockData, seed: int) -> pd.DataFrame:
    """Importance of each block for each target of one regression.

    By the method that ``rho2prop.models.registry`` names for the model. ``trees``: exact TreeSHAP (S. M. Lundberg et
    al., Nat. Mach. Intell. 2, 56 (2020)) on all test rows; ``gradients``: expected gradients
    (``shap.GradientExplainer``) on at most 40 test rows of each fold; ``blocks``: exact Shapley values of whole blocks,
    absent blocks drawn from training rows, as many rows.

    Parameters
    ----------
    folder
        Folder that ``cross_validation.run`` wrote, of a model with features.
    splits
        Table ``results/splits.csv``.
    features
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
    summary = read_summary(folder)
    model, feature_set, split = (summary[name] for name in ("model", "features", "split"))
    if not MODELS[model].explain:
        raise InputError(folder, f"the importance of blocks cannot be computed for {model}", "Choose another model")
    sums: dict[tuple[str, str], np.ndarray] = {}
    for fold in summary["n_train"]:
        rows = splits[(splits["split"] == split) & (splits["fold"] == fold)]
        ids = {part: sorted(group) for part, group in rows.groupby("part")["material_id"]}
        design = load_design(folder / "folds" / fold)
        test, train = (design.apply(features, split, fold, ids[part]) for part in ("test", "train"))
        fold_seed = derived_seed(seed, "importance", block_key(tuple(summary["blocks"])), split, fold)
        for key, (absolute, net) in _contributions(folder / "folds" / fold, train, test, fold_seed).items():
            sums[key] = sums.get(key, np.zeros(2)) + np.array([absolute.sum(), net.sum()])
    rows = [
        {"model": model, "features": feature_set, "split": split, "target": target, "block": block}
        | dict(zip(("share", "net_share"), value, strict=True))
        for (target, block), value in sums.items()
    ]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    columns = ["share", "net_share"]
    totals = frame.groupby("target")[columns].transform("sum")
    frame[columns] = frame[columns] / totals.where(totals > 0)  # NaN where a model ignores every input
    return frame


def _contributions(folder: Path, train: DesignMatrix, test: DesignMatrix, seed: int) -> dict:
    """Absolute and net contributions to the predictions for test rows, shape (N,) each, by target and block."""
    record = json.loads((folder / "fold.json").read_text())
    model, targets = record["model"], record["targets"]
    if MODELS[model].explain == BY_GRADIENTS:
        volumes = [block for block in record["blocks"] if BLOCKS[block].form == LATENT]
        trained = cast("NetworkModel", estimator_class(model).load(folder, targets)).trained
        return _gradient_contributions(trained, volumes, train, test, seed)
    if MODELS[model].explain == BY_TREES:
        contributions = _tree_contributions(
            cast("Boosting", estimator_class(model).load(folder, targets)).boosters, test
        )
    else:
        test = test.rows(np.sort(np.random.default_rng(seed).permutation(len(test.tabular))[:BLOCK_ROWS]))
        contributions = _block_contributions(load(folder, model, targets), train, test, seed)
    if test.energy_zero is not None and train.energy_zero is not None and ATOMIZATION_ENERGY in targets:
        part = np.abs(test.energy_zero - train.energy_zero.mean())  # exact: the prediction is a sum with it
        contributions[ATOMIZATION_ENERGY, COHESIVE_ENERGY] = part, part
    return contributions


def _tree_contributions(boosters: dict, test: DesignMatrix) -> dict:
    result = {}
    column_blocks = np.array(test.column_blocks)
    for target, booster in boosters.items():
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


def _gradient_contributions(
    trained: "TrainedNetwork", volumes: list[str], train: DesignMatrix, test: DesignMatrix, seed: int
) -> dict:
    """``trained``: on latents, columns or both."""
    import shap
    import torch

    rng = np.random.default_rng(seed)
    background = train.rows(np.sort(rng.permutation(len(train.tabular))[:CNN_BACKGROUND]))
    explained = test.rows(np.sort(rng.permutation(len(test.tabular))[:CNN_ROWS]))

    class Ordered(torch.nn.Module):
        """shap passes only the inputs that exist, in order."""

        def __init__(self) -> None:
            super().__init__()
            self.network = trained.network

        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            config = self.network.configs()[0]
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
