"""Blend of a Gaussian process and LightGBM, fitted to the same rows."""

from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np

from rho2prop.core.targets import TARGETS, spread_of
from rho2prop.features.design_matrix import DesignMatrix
from rho2prop.models.boosting import Boosting
from rho2prop.models.estimator import Fitting, FoldData, Predictions
from rho2prop.models.gaussian_process import GaussianProcesses

PROCESS_WEIGHT = 0.9  # of the Gaussian process, the rest is LightGBM's: docs/method.md


class Blend:
    """Weighted mean of the members' predictions: geometric for positive targets, arithmetic for the others."""

    def __init__(self, process: GaussianProcesses | None = None, boosting: Boosting | None = None):
        self.process, self.boosting = process or GaussianProcesses(), boosting or Boosting()

    def fit(self, data: FoldData, fitting: Fitting) -> Predictions:
        of_process = Fitting(fitting.settings.gaussian_process, fitting.seed, fitting.threads)  # advances nothing
        of_boosting = replace(fitting, settings=fitting.settings.lightgbm)
        process = self.process.fit(data, of_process)
        spreads = {name: process[name] for name in map(spread_of, data.targets)}
        return _blended(process, self.boosting.fit(data, of_boosting)) | spreads

    def predict(self, matrix: DesignMatrix) -> Predictions:
        return _blended(self.process.predict(matrix), self.boosting.predict(matrix))

    def spreads(self, matrix: DesignMatrix) -> Predictions:
        """Return those of the process, which has nine tenths of the weight."""
        return self.process.spreads(matrix)

    def save(self, folder: Path) -> None:
        self.process.save(folder)
        self.boosting.save(folder)

    @classmethod
    def load(cls, folder: Path, targets: list[str]) -> Self:
        return cls(GaussianProcesses.load(folder, targets), Boosting.load(folder, targets))


def _blended(process: Predictions, boosted: Predictions) -> Predictions:
    return {target: _between(process[target], boosted[target], TARGETS[target].learns_logarithm) for target in boosted}


def _between(first: np.ndarray, second: np.ndarray, learns_logarithm: bool) -> np.ndarray:
    if learns_logarithm:
        return first**PROCESS_WEIGHT * second ** (1 - PROCESS_WEIGHT)
    return PROCESS_WEIGHT * first + (1 - PROCESS_WEIGHT) * second
