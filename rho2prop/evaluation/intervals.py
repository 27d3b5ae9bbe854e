"""Conformal prediction intervals from out-of-fold residuals, and their coverage.

Split conformal prediction with locally scaled residuals (J. Lei et al., J. Am. Stat. Assoc. 113, 1094 (2018)): the
half width at a prediction ŷ is q·σ(ŷ), with q the ⌈(n + 1)·coverage⌉-th smallest of the n scores |y − ŷ| / σ(ŷ). The
residuals are those of test folds, so no model has seen the material that its residual belongs to. Where a model has a
predictive variance, σ is in proportion to its standard deviation: intervals are wide where it knows little.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from rho2prop.core.errors import InputError
from rho2prop.core.targets import TARGETS, Target
from rho2prop.materials.splits import FINAL_FOLD

POWERS = (0.0, 0.5, 1.0)  # 0: the same width everywhere; 1: a width that grows in proportion
USUAL_POWER, USUAL_POWER_OF_LOGARITHM = 0.0, 1.0  # where models learn the property and where its logarithm
COMPARISONS, LEAST_GAIN = 5, 2.0  # parts of the rows that compare powers; standard errors that make a difference
OFFSET_SHARE = 0.25  # of the median |y|: what keeps the width at ŷ = 0 from vanishing
POOLED = "pooled"
COLUMNS = [
    "target",
    "model",
    "features",
    "fold",
    "coverage_stated",
    "coverage_found",
    "n",
    "mean_width",
    "scale_power",
    "uses_spread",
]


@dataclass(frozen=True)
class Calibration:
    """Calibration of the intervals of one model and target.

    Parameters
    ----------
    power
        Exponent p of the local scale σ(ŷ) = offset · (1 + max(ŷ, 0) / offset)^p; |ŷ| instead of max(ŷ, 0) where the
        property has no lower bound.
    offset
        In the unit of the property, positive.
    scores
        Scaled residuals, sorted, shape (n,).
    is_positive
        Whether the property cannot be negative: intervals then begin at 0 or above.
    uses_spread
        Whether the local scale is multiplied by the spread of the prediction (``rho2prop.core.targets.spread_of``).
    """

    power: float
    offset: float
    scores: np.ndarray
    is_positive: bool
    uses_spread: bool = False

    def bounds(
        self, predicted: np.ndarray, coverage: float, spread: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bounds of the intervals.

        Parameters
        ----------
        predicted
            Predictions in the unit of the property, shape (N,).
        coverage
            Wanted probability that the interval holds the true value. With too few residuals for it the interval
            is the whole line: infinite.
        spread
            Of the predictions, shape (N,); needed where ``uses_spread``.
        """
        half = self.quantile(coverage) * self._scale(predicted, spread)
        lower, upper = predicted - half, predicted + half
        return (np.maximum(lower, 0.0), np.maximum(upper, 0.0)) if self.is_positive else (lower, upper)

    def scaled_errors(self, y_true: np.ndarray, y_pred: np.ndarray, spread: np.ndarray | None = None) -> np.ndarray:
        """|y − ŷ| / σ(ŷ), shape (N,), without unit; labels and predictions in the unit of the property."""
        return np.abs(y_true - y_pred) / self._scale(y_pred, spread)

    def _scale(self, predicted: np.ndarray, spread: np.ndarray | None) -> np.ndarray:
        predicted = np.asarray(predicted, dtype=float)
        size = np.maximum(predicted, 0.0) if self.is_positive else np.abs(predicted)
        scale = self.offset * (1 + size / self.offset) ** self.power
        if not self.uses_spread:
            return scale
        if spread is None or not np.isfinite(spread).all():
            fix = "Use the predictions of the model that was calibrated"
            raise InputError("intervals", "are scaled by a predictive variance, which these predictions lack", fix)
        return scale * np.asarray(spread, dtype=float)

    def quantile(self, coverage: float) -> float:
        """Quantile of the scores with coverage ``coverage``; infinite if there are too few scores."""
        if not 0 < coverage < 1:
            raise InputError("coverage", f"{coverage} is not a probability between 0 and 1", "Use for example 0.9")
        rank = math.ceil((len(self.scores) + 1) * coverage - 1e-9)
        return float(self.scores[rank - 1]) if rank <= len(self.scores) else math.inf


def calibrate(
    y_true: np.ndarray, y_pred: np.ndarray, coverage: float, target: Target, spread: np.ndarray | None = None
) -> Calibration:
    """Fit the local scale and keep the scores.

    Parameters
    ----------
    y_true, y_pred
        Labels and out-of-fold predictions in the unit of the property, shape (n,).
    coverage
        Scales are compared by their interval scores at this coverage, on every fifth row in turn with the others to
        calibrate. Width alone would favour intervals that leave out where errors are large; scores of the rows that
        calibrate would favour chance, and the intervals would hold less than they state. The usual scale, of power 1
        where logarithms are learned and else 0, times the spread where there is one, stands unless another is better by
        more than two standard errors.
    target
        The property.
    spread
        Predictive standard deviations (``rho2prop.core.targets.spread_of``), shape (n,); None or not finite: without.
    """
    y_true, y_pred = np.asarray(y_true, dtype=float), np.asarray(y_pred, dtype=float)
    if not len(y_true):
        raise InputError("out-of-fold predictions", "there are none, so intervals cannot be calibrated", "Add labels")
    offset = OFFSET_SHARE * float(np.median(np.abs(y_true))) or 1.0
    has_spread = spread is not None and bool(np.isfinite(spread).all() and (np.asarray(spread) > 0).all())
    spreads = np.asarray(spread, dtype=float) if has_spread else np.ones(len(y_true))

    def calibrated(rows: np.ndarray, power: float, uses_spread: bool) -> Calibration:
        scale = Calibration(power, offset, np.empty(0), target.is_positive, uses_spread)
        return replace(scale, scores=np.sort(scale.scaled_errors(y_true[rows], y_pred[rows], spreads[rows])))

    def held_out_scores(power: float, uses_spread: bool) -> np.ndarray:
        scores, turn = np.empty(len(y_true)), np.arange(len(y_true)) % COMPARISONS
        for rows in (turn == number for number in range(min(COMPARISONS, len(y_true)))):
            bounds = calibrated(~rows, power, uses_spread).bounds(y_pred[rows], coverage, spreads[rows])
            scores[rows] = _interval_scores(y_true[rows], *bounds, coverage)
        return scores

    power = USUAL_POWER_OF_LOGARITHM if target.learns_logarithm else USUAL_POWER
    chosen = power, has_spread
    usual = best = held_out_scores(*chosen)
    others = [(power, False) for power in POWERS] if np.isfinite(usual).all() else []
    for scale in others:
        scores = held_out_scores(*scale)
        gain = usual - scores
        is_better = gain.mean() > LEAST_GAIN * gain.std(ddof=1) / math.sqrt(len(gain))
        if is_better and scores.mean() < best.mean():
            chosen, best = scale, scores
    return calibrated(np.ones(len(y_true), dtype=bool), *chosen)


def calibrations(folder: Path | str, coverage: float) -> dict[tuple[str, str], Calibration]:
    """Calibration by model (``_from_kg`` included) and target, from all folds of one regression folder."""
    return {
        (model, target): _calibrated(rows, coverage, target) for model, _, target, rows in tested_rows(Path(folder))
    }


def evaluate_intervals(folders: list[Path | str], final: list[Path | str], coverage: float) -> pd.DataFrame:
    """Coverage of the intervals on materials that they were not calibrated on.

    Parameters
    ----------
    folders
        Regression folders of one split with at least two folds.
    final
        Folders of the final models (split ``all``) of the same regressions, in the same order.
    coverage
        The stated coverage.

    Returns
    -------
    pandas.DataFrame
        Columns of ``results/intervals.csv``; ``mean_width`` in the unit of the target. A fold's row: calibrated on
        all other folds. The row ``pooled``: all folds together, each as it was when held out; its ``scale_power`` is
        that of the calibration on all folds, which the model bundle uses. The row ``final``: that calibration around
        predictions of the final model for its validation part, which it had not learned from. A property that one
        fold alone has test rows of has no row.
    """
    rows = []
    for folder, final_folder in zip(folders, final, strict=True):
        validated = {(model, target): found for model, _, target, found in validated_rows(Path(final_folder))}
        for model, features, target, predictions in tested_rows(Path(folder)):
            head = {"target": target, "model": model, "features": features, "coverage_stated": coverage}
            folds = []
            if (
                predictions["fold"].nunique() < 2
            ):  # nothing to check it by: rho2prop.evaluation.final_models does not offer it
                continue
            for fold, held_out in predictions.groupby("fold", sort=True):
                others = predictions[predictions["fold"] != fold]
                calibration = _calibrated(others, coverage, target)
                folds.append(head | {"fold": fold} | _found(calibration, held_out, coverage))
            counts = np.array([row["n"] for row in folds])
            pooled: dict[str, float | str] = {
                name: float(np.average([row[name] for row in folds], weights=counts))
                for name in ("coverage_found", "mean_width")
            }
            everyone = _calibrated(predictions, coverage, target)
            pooled |= {"fold": POOLED, "n": int(counts.sum())}
            pooled |= {"scale_power": everyone.power, "uses_spread": everyone.uses_spread}
            rows += [*folds, head | pooled]
            if (model, target) in validated:
                rows.append(head | {"fold": FINAL_FOLD} | _found(everyone, validated[model, target], coverage))
    return pd.DataFrame(rows, columns=COLUMNS)


def _interval_scores(y_true: np.ndarray, lower: np.ndarray, upper: np.ndarray, coverage: float) -> np.ndarray:
    """Interval score: width plus 2/α times the miss (T. Gneiting, A. E. Raftery, JASA 102, 359 (2007), eq. 43)."""
    miss = np.maximum(lower - y_true, 0) + np.maximum(y_true - upper, 0)
    return upper - lower + 2 / (1 - coverage) * miss


def _found(calibration: Calibration, rows: pd.DataFrame, coverage: float) -> dict:
    y_true, y_pred, spread = columns(rows)
    lower, upper = calibration.bounds(y_pred, coverage, spread)
    return {
        "coverage_found": float(np.mean((lower <= y_true) & (y_true <= upper))),
        "n": len(rows),
        "mean_width": float(np.mean(upper - lower)),
        "scale_power": calibration.power,
        "uses_spread": calibration.uses_spread,
    }


def columns(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, predictions and spreads (NaN without) of a table of predictions, each of shape (N,)."""
    spread = rows["y_spread"].to_numpy(dtype=float) if "y_spread" in rows else np.full(len(rows), np.nan)
    return rows["y_true"].to_numpy(dtype=float), rows["y_pred"].to_numpy(dtype=float), spread


def _calibrated(rows: pd.DataFrame, coverage: float, target: str) -> Calibration:
    y_true, y_pred, spread = columns(rows)
    return calibrate(y_true, y_pred, coverage, TARGETS[target], spread)


def tested_rows(folder: Path) -> Iterator[tuple[str, str, str, pd.DataFrame]]:
    """Model (``_from_kg`` included), features, target and predictions for the labelled test rows of all folds."""
    yield from _rows(folder, "predictions")


def validated_rows(folder: Path) -> Iterator[tuple[str, str, str, pd.DataFrame]]:
    """Predictions for the validation rows, made before the models learned from them."""
    yield from _rows(folder, "validation")


def _rows(folder: Path, name: str) -> Iterator[tuple[str, str, str, pd.DataFrame]]:
    from rho2prop.evaluation.fold_results import read_predictions, read_summary
    from rho2prop.models.registry import FROM_KG

    summary = read_summary(folder)
    for suffix in ("", FROM_KG):
        for target, rows in read_predictions(folder / f"{name}{suffix}.csv").groupby("target", sort=False):
            yield summary["model"] + suffix, summary["features"], target, rows
