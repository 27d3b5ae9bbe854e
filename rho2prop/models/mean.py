"""Mean of the labels: the baseline without features."""

import json
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from rho2prop.features.design_matrix import DesignMatrix
from rho2prop.models.estimator import Fitting, FoldData, Predictions


class Mean:
    """Mean of each target over training and validation part."""

    def __init__(self, means: dict[str, float] | None = None):
        self.means = means or {}

    def fit(self, data: FoldData, fitting: Fitting) -> Predictions:
        self.means = pd.concat([data.train_labels, data.validation_labels]).mean().to_dict()
        fitting.advance(len(data.targets))
        unseen = data.train_labels.mean()
        return {target: np.full(len(data.validation_labels), unseen[target]) for target in data.targets}

    def predict(self, matrix: DesignMatrix) -> Predictions:
        return {target: np.full(len(matrix.tabular), mean) for target, mean in self.means.items()}

    def save(self, folder: Path) -> None:
        (folder / "mean.json").write_text(json.dumps(self.means))

    @classmethod
    def load(cls, folder: Path, targets: list[str]) -> Self:
        means = json.loads((folder / "mean.json").read_text())
        return cls({target: means[target] for target in targets})
