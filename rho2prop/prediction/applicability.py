"""Applicability domain: distance of a material from the training set by composition and density fingerprint."""

from dataclasses import dataclass, fields

import numpy as np
import pandas as pd

from rho2prop.core.errors import InputError

N_NEIGHBOURS = 5
VARIANCE_KEPT = 0.95
MOST_COMPONENTS = 32
FAR_PERCENTILE, VERY_FAR_PERCENTILE = 95.0, 99.0
SAME_DISTANCE = 1e-4  # in standard deviations: nearer than this it is a training material itself


@dataclass(frozen=True)
class Applicability:
    """Position of a material relative to the training set.

    Parameters
    ----------
    percentile
        Share of the training materials, in percent, that lie nearer to the rest of the training set.
    is_far
        Over the 95th percentile, or with an element that no training material has.
    nearest
        The nearest training materials: id, formula, distance (dimensionless).
    text
        The same in one sentence, for people.
    """

    percentile: float
    is_far: bool
    nearest: list[tuple[str, str, float]]
    text: str


@dataclass(frozen=True)
class TrainingSpace:
    """Training set in its principal components.

    Parameters
    ----------
    columns
        Names of the F features.
    mean, scale
        Of the training set, shape (F,).
    components
        Principal axes of the standardised features, shape (P, F).
    points
        Training materials, shape (N, P), float32.
    distances
        Mean distance of each training material to its nearest others, sorted, shape (N,).
    material_ids, formulas
        Shape (N,).
    elements
        Symbols that occur in the training set.
    """

    columns: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    components: np.ndarray
    points: np.ndarray
    distances: np.ndarray
    material_ids: np.ndarray
    formulas: np.ndarray
    elements: np.ndarray

    def judge(self, features: pd.Series, symbols: set[str]) -> Applicability:
        """Applicability of one material.

        Parameters
        ----------
        features
            Its features by name; those that are not a number count as the training mean.
        symbols
            Its elements.
        """
        values = features.loc[list(self.columns)].to_numpy(dtype=float)
        standard = np.where(np.isnan(values), 0.0, (values - self.mean) / self.scale)
        distance = np.linalg.norm(self.points - self.components @ standard, axis=1)
        order = np.argsort(distance, kind="stable")[: min(N_NEIGHBOURS, len(distance) - 1)]
        percentile = 100 * float(np.mean(self.distances < distance[order].mean()))
        nearest = [(str(self.material_ids[i]), str(self.formulas[i]), float(distance[i])) for i in order]
        unseen = sorted(symbols - set(self.elements))
        is_far = bool(unseen) or percentile > FAR_PERCENTILE
        return Applicability(percentile, is_far, nearest, _text(percentile, unseen, nearest))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Fields as plain arrays."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def fit_training_space(features: pd.DataFrame, formulas: list[str], symbols: set[str]) -> TrainingSpace:
    """Fit the principal components of the training set.

    Parameters
    ----------
    features
        Index ``material_id``, one column per feature; constant columns are left out.
    formulas
        In the order of the rows.
    symbols
        All elements of the training set.
    """
    from scipy.spatial import KDTree

    if len(features) < 2:
        raise InputError("training set", f"{len(features)} material(s)", "At least two are needed for distances")
    values = features.to_numpy(dtype=float)
    known = ~np.isnan(values)
    mean = np.where(known, values, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    filled = np.where(known, values, mean)
    scale = filled.std(axis=0)
    kept = scale > 1e-10 * np.maximum(np.abs(mean), 1e-300)
    standard = (filled[:, kept] - mean[kept]) / scale[kept]
    _, singular, axes = np.linalg.svd(standard, full_matrices=False)
    share = np.cumsum(singular**2) / np.sum(singular**2)
    n_components = min(MOST_COMPONENTS, int(np.searchsorted(share, VARIANCE_KEPT)) + 1, len(axes))
    components = axes[:n_components].astype(np.float32)
    points = (standard @ components.T).astype(np.float32)
    n_neighbours = min(N_NEIGHBOURS, len(points) - 1)
    distances, _ = KDTree(points).query(points, k=n_neighbours + 1)  # the nearest is the material itself
    return TrainingSpace(
        columns=features.columns[kept].to_numpy(dtype=str),
        mean=mean[kept],
        scale=scale[kept],
        components=components,
        points=points,
        distances=np.sort(distances[:, 1:].mean(axis=1)),
        material_ids=features.index.to_numpy(dtype=str),
        formulas=np.array(formulas, dtype=str),
        elements=np.array(sorted(symbols), dtype=str),
    )


def _text(percentile: float, unseen: list[str], nearest: list[tuple[str, str, float]]) -> str:
    name, formula, distance = nearest[0]
    beside = f"nearest: {formula} ({name})"
    if unseen:
        return f"no training material contains {', '.join(unseen)}: do not rely on the values; {beside}"
    if distance < SAME_DISTANCE:
        return f"{formula} ({name}) is in the training set: values are fitted, not predicted"
    if percentile > VERY_FAR_PERCENTILE:
        level = "very far from the training set, the values are extrapolated"
    elif percentile > FAR_PERCENTILE:
        level = "far from the training set, intervals may be too narrow"
    else:
        level = "within the training set"
    return f"{level} (farther out than {percentile:.0f} % of it); {beside}"
