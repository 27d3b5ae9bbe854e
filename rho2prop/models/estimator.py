"""Protocol of all models: fit to a fold, save, load, predict."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import pandas as pd

from rho2prop.core.named import load_named
from rho2prop.core.targets import ATOMIZATION_ENERGY, SPREAD
from rho2prop.features.design_matrix import DesignMatrix
from rho2prop.models.registry import MODELS

# Target to values in its unit, shape (N,); ``spread_of(target)`` to standard deviations where a model has them.
Predictions = dict[str, np.ndarray]
Predictor = Callable[[DesignMatrix], Predictions]


@dataclass(frozen=True)
class FoldData:
    """Features and labels of the training and validation part of a fold.

    Labels have one column per target, in its unit, NaN where unknown; their rows are those of the features.
    """

    train: DesignMatrix
    train_labels: pd.DataFrame
    validation: DesignMatrix
    validation_labels: pd.DataFrame

    @property
    def targets(self) -> list[str]:
        """Names of the targets."""
        return list(self.train_labels)

    @property
    def parts(self) -> tuple[tuple[DesignMatrix, pd.DataFrame], ...]:
        """Features and labels of the training part, then of the validation part."""
        return (self.train, self.train_labels), (self.validation, self.validation_labels)

    def of_target(self, target: str) -> "FoldData":
        """Copy with the labels of one target."""
        return FoldData(self.train, self.train_labels[[target]], self.validation, self.validation_labels[[target]])

    def relative_to_elements(self) -> "FoldData":
        """Copy with atomization energies relative to the elements, where the features have their zero."""
        if self.train.energy_zero is None or ATOMIZATION_ENERGY not in self.targets:
            return self
        train, validation = (
            labels.assign(**{ATOMIZATION_ENERGY: labels[ATOMIZATION_ENERGY] - matrix.energy_zero})
            for matrix, labels in self.parts
        )
        return FoldData(self.train, train, self.validation, validation)

    def known(self, target: str) -> list[np.ndarray]:
        """Features and labels of the labelled training rows, then of the labelled validation rows."""
        data = []
        for matrix, labels in self.parts:
            is_known = labels[target].notna().to_numpy()
            data += [matrix.tabular[is_known], labels[target].to_numpy()[is_known]]
        return data

    def on_validation_rows(self, target: str, values: np.ndarray) -> np.ndarray:
        """Values of the labelled validation rows, NaN for the others, shape (N,)."""
        all_rows = np.full(len(self.validation_labels), np.nan)
        all_rows[self.validation_labels[target].notna().to_numpy()] = values
        return all_rows


@dataclass(frozen=True)
class Fitting:
    """Settings, seed and threads of a fit.

    Parameters
    ----------
    settings
        Its section of the configuration (``rho2prop.models.settings``), None where it has none.
    seed
        Names to a seed.
    threads
        CPU threads.
    advance
        Called with each finished number of targets.
    """

    settings: Any
    seed: Callable[..., int]
    threads: int
    advance: Callable[[int], None] = lambda n: None


class Estimator(Protocol):
    """Model of one fold: constructed without arguments and fitted, or loaded from files."""

    def fit(self, data: FoldData, fitting: Fitting) -> Predictions:
        """Fit to a fold.

        Parameters
        ----------
        data
            Features, scaled, ``tabular`` of shape (N, F), and labels in the units of the targets. Atomization energies
            are relative to ``energy_zero`` where the features have one.
        fitting
            Settings, seed, threads, progress.

        Returns
        -------
        dict
            Target to predictions for the validation rows in its unit, shape (N,), by the model as it was before it
            learned from these rows, where it does so in the end; rows without the label may be NaN. A model with a
            predictive variance adds ``spread_of(target)``, and has a method ``spreads`` like ``predict`` that gives it.
        """

    def predict(self, matrix: DesignMatrix) -> Predictions:
        """Predictions by target in its unit, shape (N,), for the N rows of ``matrix``."""

    def save(self, folder: Path) -> None:
        """Write files into an existing folder: JSON, ``.npz``, safetensors, LightGBM's text; never a pickle."""

    @classmethod
    def load(cls, folder: Path, targets: list[str]) -> Self:
        """Read the files that ``save`` writes."""


def estimator_class(model: str) -> type[Estimator]:
    """Class of a model; only its own library is imported."""
    return load_named(MODELS[model].estimator)


def fit(model: str, data: FoldData, fitting: Fitting, folder: Path) -> Predictions:
    """Fit a model and write its files.

    Parameters
    ----------
    model
        Its name.
    data
        What it may see.
    fitting
        Settings, seed, threads, progress.
    folder
        Folder of the fold.

    Returns
    -------
    dict
        Target to predictions for the validation rows, shape (N,), NaN where a row has no label: by the model as it was
        before it learned from these rows. They judge the fit (``rho2prop.evaluation.final_models``).

    Notes
    -----
    With the block cohesive_energy, atomization energies are learned relative to the elements: what is fitted is the
    label minus their mean cohesive energy, and ``load`` adds it again.
    """
    estimator = estimator_class(model)()
    validated = estimator.fit(data.relative_to_elements(), fitting)
    estimator.save(folder)
    _add_zero(validated, data.validation)
    is_known = data.validation_labels.notna()
    return {name: np.where(is_known[name.removesuffix(SPREAD)], values, np.nan) for name, values in validated.items()}


def load(folder: Path, model: str, targets: list[str], with_spread: bool = False) -> Predictor:
    """Fitted model of a fold as a function from features to predictions, with their spreads if wanted."""
    estimator = estimator_class(model).load(folder, targets)

    def predict(matrix: DesignMatrix) -> Predictions:
        values = estimator.predict(matrix)
        _add_zero(values, matrix)
        if with_spread and hasattr(estimator, "spreads"):
            values |= estimator.spreads(matrix)
        return values

    return predict


def _add_zero(values: Predictions, matrix: DesignMatrix) -> None:
    if matrix.energy_zero is not None and ATOMIZATION_ENERGY in values:
        values[ATOMIZATION_ENERGY] = values[ATOMIZATION_ENERGY] + matrix.energy_zero
