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

from rho2prop.blocks import DesignMatrix
from rho2prop.choices import BLEND, LIGHTGBM, MEAN, PROCESS, SINGLE_TASK
from rho2prop.elasticity import BULK, DEBYE, SHEAR, YOUNG
from rho2prop.models import ATTENTION_CNN, GRAPH_NETWORK, MULTISCALE_CNN
from rho2prop.targets import FORMATION_ENERGY, TARGETS

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


def following_targets(model: str, targets: list[str]) -> list[str]:
    """Targets that a family does not learn, since they follow exactly from its predictions of others.

    The Gaussian process and the blend learn the independent properties; E and Θ are those of their K and G
    (``rho2prop.elasticity``), where both can be learned.
    """
    follows = model in (PROCESS, BLEND) and {BULK, SHEAR} <= set(targets)
    return [target for target in targets if follows and target in (YOUNG, DEBYE)]


def fit(
    model: str,
    data: FoldData,
    settings: dict,
    seed: Callable[..., int],
    threads: int,
    folder: Path,
    advance: Callable[[int], None],
) -> None:
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

    Notes
    -----
    With the block cohesion, formation energies are learned relative to the elements: what is fitted is the label plus
    their mean cohesive energy, and ``load`` takes it off again.
    """
    _FIT[model](data.relative_to_elements(), settings, seed, threads, folder, advance)


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


def _fit_mean(data: FoldData, settings, seed, threads, folder: Path, advance) -> None:
    means = pd.concat([data.train_labels, data.validation_labels]).mean()
    (folder / "mean.json").write_text(json.dumps(means.to_dict()))
    advance(len(data.targets))


def _load_mean(folder: Path, targets: list[str]) -> Predictor:
    means = json.loads((folder / "mean.json").read_text())
    return lambda matrix: {target: np.full(len(matrix.tabular), means[target]) for target in targets}


def _fit_boosting(data: FoldData, settings: dict, seed, threads: int, folder: Path, advance) -> None:
    from rho2prop import boosting

    records, chosen = {}, boosting.BoostingSettings(**settings)
    for target in data.targets:
        is_positive = TARGETS[target].is_positive
        booster, records[target] = boosting.fit(*data.known(target), is_positive, chosen, seed(target), threads)
        booster.save_model(folder / f"{target}.txt")
        advance(1)
    (folder / "boosting.json").write_text(json.dumps(records, indent=1))


def _load_boosting(folder: Path, targets: list[str]) -> Predictor:
    boosters = load_boosters(folder, targets)
    return lambda matrix: {target: booster.predict(matrix.tabular) for target, booster in boosters.items()}


def _fit_network(architecture: str, data: FoldData, settings: dict, seed, threads: int, folder: Path, advance) -> None:
    from rho2prop import network_training

    chosen = network_training.NetworkSettings.of(settings)
    # The bar counts targets, the network learns all of them in each trial: whole steps that add up.
    ends = np.linspace(0, len(data.targets), chosen.n_trials + 1).round().astype(int)
    steps = iter(np.diff(ends).tolist())
    parts = data.train, data.train_labels.to_numpy(), data.validation, data.validation_labels.to_numpy()
    trained = network_training.fit(
        architecture, *parts, data.targets, chosen, seed("network"), threads, lambda: advance(next(steps))
    )
    trained.save(folder)


def _load_network(folder: Path, targets: list[str]) -> Predictor:
    from rho2prop.network_training import load_network

    return load_network(folder).predict


def _fit_single(data: FoldData, settings: dict, seed, threads: int, folder: Path, advance) -> None:
    for target in data.targets:
        (folder / target).mkdir()
        labels = data.train_labels[[target]], data.validation_labels[[target]]
        alone = FoldData(data.train, labels[0], data.validation, labels[1])
        _fit_network(MULTISCALE_CNN, alone, settings, seed, threads, folder / target, advance)


def _load_single(folder: Path, targets: list[str]) -> Predictor:
    from rho2prop.network_training import load_network

    networks = {target: load_network(folder / target) for target in targets}
    return lambda matrix: {target: network.predict(matrix)[target] for target, network in networks.items()}


def _fit_process(data: FoldData, settings, seed, threads: int, folder: Path, advance) -> None:
    from rho2prop import gaussian_process

    for target in data.targets:
        train, train_labels, validation, validation_labels = data.known(target)
        process = gaussian_process.fit(
            np.vstack([train, validation]),
            data.train.column_blocks,
            data.train.column_names,
            np.concatenate([train_labels, validation_labels]),
            TARGETS[target].is_positive,
            threads,
        )
        process.save(folder / f"{target}.npz")
        advance(1)


def _load_process(folder: Path, targets: list[str]) -> Predictor:
    from rho2prop import gaussian_process

    processes = {target: gaussian_process.load(folder / f"{target}.npz") for target in targets}
    return lambda matrix: {target: process.predict(matrix.tabular) for target, process in processes.items()}


def _fit_blend(data: FoldData, settings: dict, seed, threads: int, folder: Path, advance) -> None:
    _fit_process(data, None, seed, threads, folder, lambda n: None)
    _fit_boosting(data, settings, seed, threads, folder, advance)


def _load_blend(folder: Path, targets: list[str]) -> Predictor:
    members = _load_process(folder, targets), _load_boosting(folder, targets)

    def predict(matrix: DesignMatrix) -> dict[str, np.ndarray]:
        first, second = (member(matrix) for member in members)
        return {target: _between(first[target], second[target], TARGETS[target].is_positive) for target in targets}

    return predict


def _between(first: np.ndarray, second: np.ndarray, is_positive: bool) -> np.ndarray:
    """Weighted geometric mean of what is positive, the arithmetic one of the rest."""
    if is_positive:
        return first**PROCESS_WEIGHT * second ** (1 - PROCESS_WEIGHT)
    return PROCESS_WEIGHT * first + (1 - PROCESS_WEIGHT) * second


_NETWORKS = (ATTENTION_CNN, MULTISCALE_CNN, GRAPH_NETWORK)
_FIT = {name: partial(_fit_network, name) for name in _NETWORKS} | {
    MEAN: _fit_mean,
    LIGHTGBM: _fit_boosting,
    PROCESS: _fit_process,
    BLEND: _fit_blend,
    SINGLE_TASK: _fit_single,
}
_LOAD = dict.fromkeys(_NETWORKS, _load_network) | {
    MEAN: _load_mean,
    LIGHTGBM: _load_boosting,
    PROCESS: _load_process,
    BLEND: _load_blend,
    SINGLE_TASK: _load_single,
}
