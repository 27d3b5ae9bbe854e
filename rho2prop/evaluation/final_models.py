"""Comparison of final models with fold models: whether each final model is as good as its scores say.

Scores and intervals come from the fold models, predictions from one more fit on all materials. Nothing tests that fit
on materials of its own, but each fit, final or of a fold, leaves predictions for a validation part that it had not
learned from (``rho2prop.models.estimator.fit``). A final model whose validation errors are larger than chance allows
beside those of the folds, or whose intervals hold too few of the values, is not offered.
"""

from pathlib import Path

import pandas as pd
from scipy.stats import binomtest, mannwhitneyu

from rho2prop.core.errors import InputError
from rho2prop.evaluation.fold_results import read_summary
from rho2prop.evaluation.intervals import Calibration, calibrations, columns, tested_rows, validated_rows

LARGEST_ERROR_RATIO = 1.25  # of the mean scaled errors, final to folds; smaller differences are let pass
SMALLEST_P = 1e-3  # of one comparison: a run makes some thirty
NAMES = ("model", "features", "blocks")
COLUMNS = [
    "model",
    "features",
    "target",
    "n",
    "mae",
    "mae_folds",
    "mae_folds_least",
    "mae_folds_largest",
    "p_error",
    "coverage_stated",
    "coverage_found",
    "p_coverage",
    "is_offered",
    "reason",
]


def judge_final_models(final: list[Path | str], folds: list[Path | str], coverage: float) -> pd.DataFrame:
    """Compare final models with the fold models that their scores and intervals come from.

    Parameters
    ----------
    final, folds
        Regression folders of the split ``all`` and of the split that calibrates the intervals, in one order.
    coverage
        Stated coverage of the intervals.

    Returns
    -------
    pandas.DataFrame
        One row per model, feature set and target. ``mae…``: mean absolute errors of validation parts in the unit of
        the target, of the final model, of all fold models and of the best and the worst of these. ``p_error``:
        one-sided Mann-Whitney test of the scaled errors (``rho2prop.evaluation.intervals.Calibration``),
        ``p_coverage``: binomial test of the number of values that the intervals hold. ``is_offered``, and the
        ``reason`` if not.

    Raises
    ------
    InputError
        If the final and fold models are not of the same model and features.
    """
    rows = []
    for final_dir, folds_dir in zip(map(Path, final), map(Path, folds), strict=True):
        _check_pair(final_dir, folds_dir)
        calibrated = calibrations(folds_dir, coverage)
        of_folds = {(model, target): group for model, _, target, group in validated_rows(folds_dir)}
        tested_by = {(model, target): group["fold"].nunique() for model, _, target, group in tested_rows(folds_dir)}
        for model, features, target, found in validated_rows(final_dir):
            head = {"model": model, "features": features, "target": target}
            if tested_by.get((model, target), 0) < 2 or (model, target) not in of_folds:
                reason = "fewer than two folds have tested it"
                rows.append(head | {"n": len(found), "is_offered": False, "reason": reason})
                continue
            rows.append(head | _judged(found, of_folds[model, target], calibrated[model, target], coverage))
    return pd.DataFrame(rows, columns=COLUMNS)


def read_judged(path: Path | str) -> pd.DataFrame:
    """``results/final_models.csv``; a run whose models could not be trained has a header only."""
    table = pd.read_csv(path, keep_default_na=False)
    return table.astype({"is_offered": bool})


def read_offered(path: Path | str) -> set[tuple[str, str, str]]:
    """Model, features and target of each final model offered in ``results/final_models.csv``."""
    table = read_judged(path)
    offered = table[table["is_offered"]]
    return set(zip(offered["model"], offered["features"], offered["target"], strict=True))


def _judged(found: pd.DataFrame, of_folds: pd.DataFrame, calibration: Calibration, coverage: float) -> dict:
    errors, fold_errors = ((rows["y_true"] - rows["y_pred"]).abs() for rows in (found, of_folds))
    by_fold = fold_errors.groupby(of_folds["fold"]).mean()
    scores, fold_scores = (calibration.scaled_errors(*columns(rows)) for rows in (found, of_folds))
    _, y_pred, spread = columns(found)
    lower, upper = calibration.bounds(y_pred, coverage, spread)
    n_inside = int(((lower <= found["y_true"]) & (found["y_true"] <= upper)).sum())
    p_error = float(mannwhitneyu(scores, fold_scores, alternative="greater").pvalue)
    p_coverage = float(binomtest(n_inside, len(found), coverage, alternative="less").pvalue)
    reasons = []
    if p_error < SMALLEST_P and scores.mean() > LARGEST_ERROR_RATIO * fold_scores.mean():
        reasons.append(
            f"its mean absolute validation error is {errors.mean():.3g}, that of the fold models is "
            f"{fold_errors.mean():.3g} ({by_fold.min():.3g} to {by_fold.max():.3g})"
        )
    if p_coverage < SMALLEST_P:
        reasons.append(f"its {coverage:.0%} intervals cover {n_inside} of {len(found)} validation values")
    return {
        "n": len(found),
        "mae": float(errors.mean()),
        "mae_folds": float(fold_errors.mean()),
        "mae_folds_least": float(by_fold.min()),
        "mae_folds_largest": float(by_fold.max()),
        "p_error": p_error,
        "coverage_stated": coverage,
        "coverage_found": n_inside / len(found),
        "p_coverage": p_coverage,
        "is_offered": not reasons,
        "reason": "; ".join(reasons),
    }


def _check_pair(final: Path, folds: Path) -> None:
    found, expected = ({name: read_summary(folder)[name] for name in NAMES} for folder in (final, folds))
    if found != expected:
        texts = [
            f"{record['model']} on {record['features']} ({', '.join(record['blocks'])})" for record in (found, expected)
        ]
        problem = f"holds {texts[0]}, but the folds {folds} are of {texts[1]}"
        raise InputError(final, problem, "Name folders of the same model and features")
