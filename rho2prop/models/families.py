"""The families of models: how each is fitted to one fold, what files it leaves there, and how it is read back.

Each imports its library when it is used: a job of one family does not wait seconds for those of the others.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from rho2prop.core.targets import FORMATION_ENERGY, TARGETS
from rho2prop.crystals.elasticity import BULK, DEBYE, SHEAR, YOUNG
from rho2prop.features.design_matrix import DesignMatrix
from rho2prop.models.registry import (
    ATTENTION_CNN,
    BLEND,
    GAUSSIAN_PROCESS,
    GRAPH_NETWORK,
    LIGHTGBM,
    MEAN,
    MULTISCALE_CNN,
    SINGLE_TASK,
)

Predictor = Callable[[DesignMatrix], dict[str, np.ndarray]]
PROCESS_WEIGHT = 0.9  # of the Gaussian process in the blend, the rest is LightGBM's: docs/method.md


@dataclass(frozen=True)
class FoldData:
    """Features and labels of the two parts of a fold that a model may see; labels have one column per target."""

    train: DesignMatrix
    train_labels: pd.DataFrame
    validation: DesignMatrix
    validation_labels: pd.DataFrame

    @property
    def targets(self) -> list[str]:
        """Names of the targets."""
        return list(self.train_labels)

    def relative_to_elements(self) -> "FoldData":
        """The same with formation energies relative to the zero of each material, where the features name one."""
        if self.train.energy_zero is None or FORMATION_ENERGY not in self.targets:
            return self
        labels = (
            part.assign(**{FORMATION_ENERGY: part[FORMATION_ENERGY] - matrix.energy_zero})
            for matrix, part in ((self.train, self.train_labels), (self.validation, self.validation_labels))
        )
        return FoldData(self.train, next(labels), self.validation, next(labels))

    def known(self, target: str) -> list[np.ndarray]:
        """Training features and labels, then those of the validation part: rows that have the label."""
        data = []
        for matrix, labels in ((self.train, self.train_labels), (self.validation, self.validation_labels)):
            given = labels[target].notna().to_numpy()
            data += [matrix.tabular[given], labels[target].to_numpy()[given]]
        return data

    def on_validation_rows(self, target: str, values: np.ndarray) -> np.ndarray:
        """Values of the validation rows that have the label, among NaN for the others, shape (N,)."""
        all_rows = np.full(len(self.validation_labels), np.nan)
        all_rows[self.validation_labels[target].notna().to_numpy()] = values
        return all_rows


def following_targets(model: str, targets: list[str]) -> list[str]:
    """Targets that a family does not learn, since they follow exactly from its predictions of others.

    The Gaussian process and the blend learn the independent properties; E and Θ are those of their K and G
    (``rho2prop.crystals.elasticity``), where both can be learned.
    """
    follows = model in (GAUSSIAN_PROCESS, BLEND) and {BULK, SHEAR} <= set(targets)
    return [target for target in targets if follows and target in (YOUNG, DEBYE)]


def fit(
    model: str,
    data: FoldData,
    settings: dict,
    seed: Callable[..., int],
    threads: int,
    folder: Path,
    advance: Callable[[int], None],
) -> dict[str, np.ndarray]:
    """Fit a model of a family and write its files.

    Parameters
    ----------
    model
        Name of the family.
    data
        What it may see.
    settings
        Section of the configuration with its name; of ``blend`` that of ``lightgbm``, of the multi-scale CNNs that of
        ``attention_cnn``.
    seed
        Names to a seed.
    threads
        CPU threads.
    folder
        Folder of the fold.
    advance
        Told of each finished share; the shares add up to the number of targets.

    Returns
    -------
    dict
        Target to predictions for the validation rows, shape (N,), NaN where a row has no label: by the model as it was
        before it learned from these rows, where it does so in the end. They judge the fit
        (``rho2prop.evaluation.final_models``).

    Notes
    -----
    With the block cohesive_energy, formation energies are learned relative to the elements: what is fitted is the label
    plus their mean cohesive energy, and ``load`` takes it off again.
    """
    found = _FIT[model](data.relative_to_elements(), settings, seed, threads, folder, advance)
    if data.validation.energy_zero is not None and FORMATION_ENERGY in found:
        found[FORMATION_ENERGY] = found[FORMATION_ENERGY] + data.validation.energy_zero
    return {
        target: np.where(data.validation_labels[target].notna(), values, np.nan) for target, values in found.items()
    }


def load(folder: Path, record: dict) -> Predictor:
    """The fitted model of a fold as a function from features to target values.

    Parameters
    ----------
    folder
        Folder of the fold.
    record
        Its ``fold.json``.
    """
    predictor = _LOAD[record["model"]](folder, record["targets"])

    def predict(matrix: DesignMatrix) -> dict[str, np.ndarray]:
        values = predictor(matrix)
        if matrix.energy_zero is not None and FORMATION_ENERGY in values:
            values[FORMATION_ENERGY] = values[FORMATION_ENERGY] + matrix.energy_zero
        return values

    return predict


def load_boosters(folder: Path, targets: list[str]) -> dict:
    """LightGBM models of a fold by target."""
    from lightgbm import Booster

    return {target: Booster(model_file=folder / f"{target}.txt") for target in targets}


def _fit_mean(data: FoldData, settings, seed, threads, folder: Path, advance) -> dict[str, np.ndarray]:
    means = pd.concat([data.train_labels, data.validation_labels]).mean()
    (folder / "mean.json").write_text(json.dumps(means.to_dict()))
    advance(len(data.targets))
    unseen = data.train_labels.mean()
    return {target: np.full(len(data.validation_labels), unseen[target]) for target in data.targets}


def _load_mean(folder: Path, targets: list[str]) -> Predictor:
    means = json.loads((folder / "mean.json").read_text())
    return lambda matrix: {target: np.full(len(matrix.tabular), means[target]) for target in targets}


def _fit_boosting(data: FoldData, settings: dict, seed, threads: int, folder: Path, advance) -> dict[str, np.ndarray]:
    from rho2prop.models import boosting

    records, unseen, chosen = {}, {}, boosting.BoostingSettings(**settings)
    for target in data.targets:
        is_positive = TARGETS[target].is_positive
        booster, records[target], values = boosting.fit(*data.known(target), is_positive, chosen, seed(target), threads)
        booster.save_model(folder / f"{target}.txt")
        unseen[target] = data.on_validation_rows(target, values)
        advance(1)
    (folder / "boosting.json").write_text(json.dumps(records, indent=1))
    return unseen


def _load_boosting(folder: Path, targets: list[str]) -> Predictor:
    boosters = load_boosters(folder, targets)
    return lambda matrix: {target: booster.predict(matrix.tabular) for target, booster in boosters.items()}


def _fit_network(
    architecture: str, data: FoldData, settings: dict, seed, threads: int, folder: Path, advance
) -> dict[str, np.ndarray]:
    from rho2prop.models import network_training

    chosen = network_training.NetworkSettings.of(settings)
    # The bar counts targets, the network learns all of them in each trial: whole steps that add up.
    ends = np.linspace(0, len(data.targets), chosen.n_trials + 1).round().astype(int)
    steps = iter(np.diff(ends).tolist())
    parts = data.train, data.train_labels.to_numpy(), data.validation, data.validation_labels.to_numpy()
    trained = network_training.fit(
        architecture, *parts, data.targets, chosen, seed("network"), threads, lambda: advance(next(steps))
    )
    trained.save(folder)
    return trained.predict(data.validation)


def _load_network(folder: Path, targets: list[str]) -> Predictor:
    from rho2prop.models.network_training import load_network

    return load_network(folder).predict


def _fit_single(data: FoldData, settings: dict, seed, threads: int, folder: Path, advance) -> dict[str, np.ndarray]:
    unseen = {}
    for target in data.targets:
        (folder / target).mkdir()
        labels = data.train_labels[[target]], data.validation_labels[[target]]
        alone = FoldData(data.train, labels[0], data.validation, labels[1])
        unseen |= _fit_network(MULTISCALE_CNN, alone, settings, seed, threads, folder / target, advance)
    return unseen


def _load_single(folder: Path, targets: list[str]) -> Predictor:
    from rho2prop.models.network_training import load_network

    networks = {target: load_network(folder / target) for target in targets}
    return lambda matrix: {target: network.predict(matrix)[target] for target, network in networks.items()}


def _fit_process(data: FoldData, settings, seed, threads: int, folder: Path, advance) -> dict[str, np.ndarray]:
    from rho2prop.models import gaussian_process

    unseen = {}
    for target in data.targets:
        train, train_labels, validation, validation_labels = data.known(target)
        labels = np.concatenate([train_labels, validation_labels])
        process = gaussian_process.fit(
            np.vstack([train, validation]),
            data.train.column_blocks,
            data.train.column_names,
            labels,
            TARGETS[target].is_positive,
            threads,
        )
        left_out = gaussian_process.predict_held_out(process, labels, np.arange(len(labels)) >= len(train))
        process.save(folder / f"{target}.npz")
        unseen[target] = data.on_validation_rows(target, left_out)
        advance(1)
    return unseen


def _load_process(folder: Path, targets: list[str]) -> Predictor:
    from rho2prop.models import gaussian_process

    processes = {target: gaussian_process.load(folder / f"{target}.npz") for target in targets}
    return lambda matrix: {target: process.predict(matrix.tabular) for target, process in processes.items()}


def _fit_blend(data: FoldData, settings: dict, seed, threads: int, folder: Path, advance) -> dict[str, np.ndarray]:
    members = (
        _fit_process(data, None, seed, threads, folder, lambda n: None),
        _fit_boosting(data, settings, seed, threads, folder, advance),
    )
    return _blended(*members)


def _load_blend(folder: Path, targets: list[str]) -> Predictor:
    members = _load_process(folder, targets), _load_boosting(folder, targets)

    return lambda matrix: _blended(*(member(matrix) for member in members))


def _blended(process: dict[str, np.ndarray], boosted: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {target: _between(process[target], boosted[target], TARGETS[target].is_positive) for target in process}


def _between(first: np.ndarray, second: np.ndarray, is_positive: bool) -> np.ndarray:
    """Weighted geometric mean of what is positive, the arithmetic one of the rest."""
    if is_positive:
        return first**PROCESS_WEIGHT * second ** (1 - PROCESS_WEIGHT)
    return PROCESS_WEIGHT * first + (1 - PROCESS_WEIGHT) * second


_NETWORKS = (ATTENTION_CNN, MULTISCALE_CNN, GRAPH_NETWORK)
_FIT = {name: partial(_fit_network, name) for name in _NETWORKS} | {
    MEAN: _fit_mean,
    LIGHTGBM: _fit_boosting,
    GAUSSIAN_PROCESS: _fit_process,
    BLEND: _fit_blend,
    SINGLE_TASK: _fit_single,
}
_LOAD = dict.fromkeys(_NETWORKS, _load_network) | {
    MEAN: _load_mean,
    LIGHTGBM: _load_boosting,
    GAUSSIAN_PROCESS: _load_process,
    BLEND: _load_blend,
    SINGLE_TASK: _load_single,
}
