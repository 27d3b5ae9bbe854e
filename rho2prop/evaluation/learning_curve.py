"""Learning curves: error of models trained on part of the training materials of each fold."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from rho2prop.core.atomic_files import atomic
from rho2prop.evaluation.cross_validation import Regression, RegressionData, run
from rho2prop.evaluation.fold_results import collect_metrics, is_trained
from rho2prop.materials.splits import derived_seed

ALL = "all"
COLUMNS = ["size", "target", "features", "model", "split", "fold", "n_train", "n_test", "r2", "mae", "rmse"]


def learn(regression: Regression, data: RegressionData, sizes: Sequence[int], folder: Path | str) -> None:
    """Fit and test one regression on smaller training sets, as ``cross_validation.run`` does on the whole ones.

    Parameters
    ----------
    regression, data
        As for ``cross_validation.run``.
    sizes
        Materials to learn from, validation included. Sizes that some fold does not have are left out (stderr says so).
    folder
        Folder to write, whole or not at all: a regression folder ``<size>`` for each.
    """
    rows = data.splits[data.splits["split"] == regression.split]
    with atomic(folder) as temporary:
        temporary.mkdir()
        for size in sizes:
            fewer = thinned(rows, size, regression.seed)
            if fewer is None:
                print(f"learning curve: a fold has fewer than {size} materials, this size is skipped", file=sys.stderr)
                continue
            run(regression, replace(data, splits=fewer), temporary / str(size))


def thinned(splits: pd.DataFrame, size: int, seed: int) -> pd.DataFrame | None:
    """Splits with ``size`` training materials per fold, or None if a fold has fewer.

    The share that validates stays, the test part too, and a smaller set is a part of each larger one.
    """
    kept = []
    for (split, fold), rows in splits.groupby(["split", "fold"], sort=True):
        rows = rows.sort_values("material_id")
        is_test = rows["part"] == "test"
        validates = rows["part"] == "validation"
        if (~is_test).sum() < size:
            return None
        n_validation = max(1, round(size * validates.sum() / (~is_test).sum()))
        rng = np.random.default_rng(derived_seed(seed, "learning curve", split, fold))
        for part, count in (("train", size - n_validation), ("validation", n_validation)):
            members = rows[rows["part"] == part]
            kept.append(members.iloc[np.sort(rng.permutation(len(members))[:count])])
        kept.append(rows[is_test])
    return pd.concat(kept, ignore_index=True)


def collect(learned: list[Path | str], whole: list[Path | str]) -> pd.DataFrame:
    """Scores for all sizes.

    Parameters
    ----------
    learned
        Folders of ``learn``.
    whole
        Folders of the same regressions on whole training sets.

    Returns
    -------
    pandas.DataFrame
        Columns of ``results/metrics.csv`` after ``size``: number of materials as text, or ``all``.
    """
    parts = [(path.name, path) for folder in learned for path in sorted(Path(folder).iterdir()) if path.is_dir()]
    parts += [(ALL, Path(folder)) for folder in whole]
    parts = [(size, path) for size, path in parts if is_trained(path)]
    frames = [collect_metrics([path]).assign(size=size) for size, path in parts]
    return pd.concat(frames, ignore_index=True)[COLUMNS] if frames else pd.DataFrame(columns=COLUMNS)
