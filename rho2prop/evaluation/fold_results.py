"""Results of regressions: predictions of test folds, their scores, and what was left out."""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from rho2prop.core.errors import InputError
from rho2prop.crystals.elasticity import BULK, SHEAR
from rho2prop.evaluation.metrics import score
from rho2prop.models.registry import FROM_KG

# The spread may be blank, so it is not the last: a line that was cut off must lack a number.
PREDICTION_COLUMNS = ["fold", "material_id", "target", "y_spread", "y_true", "y_pred"]
METRIC_COLUMNS = ["target", "features", "model", "split", "fold", "n_train", "n_test", "r2", "mae", "rmse"]


def read_summary(folder: Path | str) -> dict:
    """``targets.json`` of a regression: model, features, blocks, split, targets, what was left out, numbers of rows.

    Raises
    ------
    InputError
        There is no regression, or it is of a version that had no named feature sets.
    """
    path = Path(folder) / "targets.json"
    if not path.is_file():
        fix = "Give a folder that the rule fit_regression or fit_network wrote"
        raise InputError(folder, "holds no regression", fix)
    summary = json.loads(path.read_text())
    if "blocks" not in summary:
        fix = "Delete results/regression, results/learning and results/importance, and run the workflow again"
        raise InputError(path, "was written by an earlier version, which had no named feature sets", fix)
    return summary


def collect_metrics(folders: Sequence[Path | str]) -> pd.DataFrame:
    """Scores of every fold of every regression; E and Θ derived from K and G as model ``<model>_from_kg``.

    Parameters
    ----------
    folders
        Folders that ``run`` wrote.

    Returns
    -------
    pandas.DataFrame
        Columns of ``results/metrics.csv``; ``n_train`` counts training and validation rows with the label
        (of a derived target: the smaller number of K and G).
    """
    rows = []
    for folder in map(Path, folders):
        summary = read_summary(folder)
        for file, suffix in (("predictions.csv", ""), ("predictions_from_kg.csv", FROM_KG)):
            for (fold, target), group in read_predictions(folder / file).groupby(["fold", "target"], sort=False):
                n_train = summary["n_train"][fold]
                rows.append(
                    {
                        "target": target,
                        "features": summary["features"],
                        "model": summary["model"] + suffix,
                        "split": summary["split"],
                        "fold": fold,
                        "n_train": min(n_train[BULK], n_train[SHEAR]) if suffix else n_train[target],
                        "n_test": len(group),
                        **score(group["y_true"], group["y_pred"]),
                    }
                )
    return pd.DataFrame(rows, columns=METRIC_COLUMNS)


def is_trained(folder: Path | str) -> bool:
    """Whether a regression has models; False if it was left out for lack of labels."""
    return bool(read_summary(folder)["targets"])


def read_predictions(path: Path | str) -> pd.DataFrame:
    """Read a table of predictions; its number of rows must be that of ``targets.json`` beside it.

    ``y_spread`` (``rho2prop.core.targets.spread_of``) is NaN for models without a predictive variance.
    """
    path = Path(path)
    text = dict.fromkeys(("fold", "material_id", "target"), str)
    rows = pd.read_csv(path, converters=text, float_precision="round_trip")
    summary = path.with_name("targets.json")
    n_rows = json.loads(summary.read_text()).get("n_rows", {}).get(path.stem) if summary.is_file() else None
    n_incomplete = int(rows.drop(columns="y_spread", errors="ignore").isna().any(axis=1).sum())
    if n_rows not in (None, len(rows)) or n_incomplete:
        problem = f"has {len(rows)} rows, of which {n_incomplete} are incomplete"
        expected = "" if n_rows is None else f"; {n_rows} were written"
        raise InputError(path, problem + expected, f"Delete {path.parent} and fit again")
    return rows
