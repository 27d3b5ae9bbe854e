"""Scores of predictions, and their spread over folds."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

SCORES = ("r2", "mae", "rmse")


def score(y_true: ArrayLike, y_pred: ArrayLike) -> dict[str, float]:
    """R², MAE and RMSE; the last two in the unit of the property.

    Parameters
    ----------
    y_true, y_pred
        Reference and predicted values, shape (N,). Nothing is trimmed.

    Returns
    -------
    dict
        ``r2`` is NaN where it is not defined (fewer than two rows, or all references equal).
    """
    y_true, y_pred = np.asarray(y_true, dtype=float), np.asarray(y_pred, dtype=float)
    if y_true.shape != y_pred.shape or y_true.ndim != 1 or not y_true.size:
        raise ValueError(f"score needs two equal, non-empty vectors, got shapes {y_true.shape} and {y_pred.shape}")
    if not (np.isfinite(y_true).all() and np.isfinite(y_pred).all()):
        raise ValueError("score needs finite values")
    error = y_pred - y_true
    spread = np.sum((y_true - y_true.mean()) ** 2)
    return {
        "r2": float(1 - np.sum(error**2) / spread) if spread > 0 else float("nan"),
        "mae": float(np.mean(np.abs(error))),
        "rmse": float(np.sqrt(np.mean(error**2))),
    }


def summarise(metrics: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over folds of each score.

    Parameters
    ----------
    metrics
        Rows of ``results/metrics.csv``.

    Returns
    -------
    pandas.DataFrame
        ``target, features, model, split, n_folds, n_test`` (sum over folds) and ``<score>_mean, <score>_std``
        (sample standard deviation, NaN with one fold).
    """
    grouped = metrics.groupby(["target", "features", "model", "split"], sort=False)
    columns = {"n_folds": ("fold", "nunique"), "n_test": ("n_test", "sum")}
    for name in SCORES:
        columns |= {f"{name}_mean": (name, "mean"), f"{name}_std": (name, "std")}
    return grouped.agg(**columns).reset_index()
