"""Gaussian process regression of one target: trends plus one length scale for each feature block.

Of a positive target the logarithm is the sum of straight lines in a few columns and of a smooth function of all others,
each with its own prior variance (universal kriging; C. E. Rasmussen, C. K. I. Williams, Gaussian Processes for Machine
Learning, MIT Press 2006, ch. 2.7, 4 and 5):

- contributions of the elements: the columns of the block composition;
- powers of the scales that moduli have: those named in ``SCALES``, which are logarithms;
- a Matérn function, ν = 5/2, of the distance r, r² = Σ_b d_b² / l_b², d_b² the mean squared difference over the columns
  of block b (the composition is left to its trend).

Everything is chosen by the marginal likelihood times a prior on the lengths: nothing is tuned on a validation part.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy.optimize import minimize

from rho2prop.core.targets import TARGETS
from rho2prop.features.design_matrix import DesignMatrix
from rho2prop.features.registry import SHARES
from rho2prop.models.estimator import Fitting, FoldData, Predictions

if TYPE_CHECKING:
    import torch  # to fit only: predictions need NumPy alone

SCALES = (
    "elemental_solids.log_cohesive_energy_density",
    "elemental_solids.log_bulk_modulus_mean",
    "elemental_solids.log_shear_modulus_mean",
    *(
        f"{block}.log_rho_vq{share}"
        for block in ("fingerprint", "promolecule_fingerprint")
        for share in ("0.050", "0.300", "0.500")
    ),
)
NEITHER = -1  # in ``smooth`` and ``trend``
JITTER = 1e-9  # on the diagonal, of the variance of the labels
# of the logarithms
BOUNDS = {"noise": (-12.0, 2.0), "signal": (-6.0, 6.0), "length": (-4.0, 6.0), "trend": (-10.0, 6.0)}
STARTS = ((-4.0, 0.0, 0.0, 0.0), (-2.0, 0.0, 1.5, 0.0))  # log noise variance, log variance, log lengths, log trends
LENGTH_PRIOR = 1.0, 1.0  # mean and standard deviation of log lengths: with few materials they are not left to chance
TOLERANCE = 1e-6  # relative, of the posterior: errors do not change below it


@dataclass(frozen=True)
class GaussianProcess:
    """A fitted Gaussian process (GP).

    Parameters
    ----------
    rows
        Scaled features of the training rows, shape (N, F), float32.
    weights
        (K + σ² 1)⁻¹ y, shape (N,).
    smooth, trend
        Of each column the number of its Matérn block and of its trend, −1: none; shape (F,).
    hyperparameters
        Logarithms of noise variance, signal variance, the length of each block and the variance of each trend.
    mean, scale
        Of the labels (of their logarithms where ``is_log``).
    is_log
        Whether the target is positive and its logarithm was fitted: predictions are then medians.
    """

    rows: np.ndarray
    weights: np.ndarray
    smooth: np.ndarray
    trend: np.ndarray
    hyperparameters: np.ndarray
    mean: float
    scale: float
    is_log: bool

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Predictions in the unit of the target, shape (M,), for scaled features of shape (M, F)."""
        rows = features.astype(np.float32)
        distances = block_distances(rows, self.rows, self.smooth)
        products = trend_products(rows, self.rows, self.trend)
        kernel = _kernel(np, distances, products, self.hyperparameters)
        values = kernel @ self.weights * self.scale + self.mean
        return np.exp(values) if self.is_log else values

    def save(self, path: Path) -> None:
        """Write one ``.npz``."""
        arrays: dict[str, Any] = {name: np.asarray(value) for name, value in vars(self).items()}
        np.savez(path, **arrays)


def load(path: Path) -> GaussianProcess:
    """Read a file that ``GaussianProcess.save`` writes."""
    with np.load(path) as arrays:
        scalars = {name: arrays[name].item() for name in ("mean", "scale", "is_log")}
        return GaussianProcess(**{name: arrays[name] for name in arrays.files if name not in scalars}, **scalars)


class GaussianProcesses:
    """One GP per target."""

    def __init__(self, processes: dict[str, GaussianProcess] | None = None):
        self.processes = processes or {}

    def fit(self, data: FoldData, fitting: Fitting) -> Predictions:
        unseen = {}
        for target in data.targets:
            train, train_labels, validation, validation_labels = data.known(target)
            labels = np.concatenate([train_labels, validation_labels])
            process = fit(
                np.vstack([train, validation]),
                data.train.column_blocks,
                data.train.column_names,
                labels,
                TARGETS[target].learns_logarithm,
                fitting.threads,
            )
            left_out = predict_held_out(process, labels, np.arange(len(labels)) >= len(train))
            self.processes[target], unseen[target] = process, data.on_validation_rows(target, left_out)
            fitting.advance(1)
        return unseen

    def predict(self, matrix: DesignMatrix) -> Predictions:
        return {target: process.predict(matrix.tabular) for target, process in self.processes.items()}

    def save(self, folder: Path) -> None:
        for target, process in self.processes.items():
            process.save(folder / f"{target}.npz")

    @classmethod
    def load(cls, folder: Path, targets: list[str]) -> Self:
        return cls({target: load(folder / f"{target}.npz") for target in targets})


def fit(
    features: np.ndarray,
    column_blocks: list[str],
    column_names: tuple[str, ...],
    labels: np.ndarray,
    learns_logarithm: bool,
    threads: int,
) -> GaussianProcess:
    """Fit a GP to all given rows.

    Parameters
    ----------
    features
        Scaled features, shape (N, F).
    column_blocks, column_names
        Block of each column and its name, ``<block>.<column>``.
    labels
        Shape (N,), finite.
    learns_logarithm
        Fit the logarithm.
    threads
        CPU threads.

    Returns
    -------
    GaussianProcess
        With the best of the posteriors found from two starts.
    """
    import torch

    torch.set_num_threads(threads)
    values = np.log(labels) if learns_logarithm else labels.astype(float)
    mean, scale = float(values.mean()), float(values.std()) or 1.0
    scaled = torch.from_numpy((values - mean) / scale)
    rows = features.astype(np.float32)
    smooth = _numbered([block if block != SHARES else None for block in column_blocks])
    trend = _numbered(
        [
            SHARES if block == SHARES else "scales" if name in SCALES else None
            for block, name in zip(column_blocks, column_names, strict=True)
        ]
    )
    distances = torch.from_numpy(block_distances(rows, rows, smooth))
    products = torch.from_numpy(trend_products(rows, rows, trend))
    n_lengths = len(distances)

    def loss(logarithms: np.ndarray) -> tuple[float, np.ndarray]:
        parameters = torch.from_numpy(logarithms).requires_grad_()
        factor, status = torch.linalg.cholesky_ex(_covariance(distances, products, parameters))
        if status:
            return 1e10, np.zeros_like(logarithms)
        weights = torch.cholesky_solve(scaled[:, None], factor)[:, 0]
        away = (parameters[2 : 2 + n_lengths] - LENGTH_PRIOR[0]) / LENGTH_PRIOR[1]
        value = 0.5 * scaled @ weights + factor.diagonal().log().sum() + 0.5 * away @ away
        (gradient,) = torch.autograd.grad(value, parameters)
        return float(value.detach()), gradient.numpy()

    sizes = {"noise": 1, "signal": 1, "length": n_lengths, "trend": len(products)}
    bounds = [BOUNDS[name] for name, size in sizes.items() for _ in range(size)]
    found = [
        minimize(
            loss,
            np.repeat(start, list(sizes.values())),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"ftol": TOLERANCE},
        )
        for start in STARTS
    ]
    best = min(found, key=lambda one: one.fun).x
    factor = torch.linalg.cholesky(_covariance(distances, products, torch.from_numpy(best)))
    weights = torch.cholesky_solve(scaled[:, None], factor)[:, 0].numpy()
    return GaussianProcess(rows, weights, smooth, trend, best, mean, scale, learns_logarithm)


def predict_held_out(process: GaussianProcess, labels: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """Predictions for some training rows from the other rows, at the same hyper-parameters.

    Parameters
    ----------
    process
        Fitted to all rows.
    labels
        Of all rows, as ``fit`` had them, shape (N,).
    held_out
        Which rows to leave out, boolean, shape (N,).

    Returns
    -------
    numpy.ndarray
        In the unit of the target, shape (number of rows left out,).
    """
    import torch

    values = np.log(labels) if process.is_log else labels.astype(float)
    scaled = torch.from_numpy((values[~held_out] - process.mean) / process.scale)
    rows = process.rows[~held_out]
    distances = torch.from_numpy(block_distances(rows, rows, process.smooth))
    products = torch.from_numpy(trend_products(rows, rows, process.trend))
    factor = torch.linalg.cholesky(_covariance(distances, products, torch.from_numpy(process.hyperparameters)))
    weights = torch.cholesky_solve(scaled[:, None], factor)[:, 0].numpy()
    return replace(process, rows=rows, weights=weights).predict(process.rows[held_out])


def block_distances(left: np.ndarray, right: np.ndarray, group_of: np.ndarray) -> np.ndarray:
    """Mean squared difference over the columns of each group, shape (B, M, N), float64."""
    found = []
    for a, b in _grouped(left, right, group_of):
        squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None] - 2 * a @ b.T
        found.append(np.maximum(squared, 0.0) / a.shape[1])
    return np.array(found).reshape(-1, len(left), len(right))


def trend_products(left: np.ndarray, right: np.ndarray, group_of: np.ndarray) -> np.ndarray:
    """Mean product over the columns of each group, shape (T, M, N), float64."""
    found = [a @ b.T / a.shape[1] for a, b in _grouped(left, right, group_of)]
    return np.array(found).reshape(-1, len(left), len(right))


def _grouped(left: np.ndarray, right: np.ndarray, group_of: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for group in range(group_of.max(initial=NEITHER) + 1):
        inside = group_of == group
        yield left[:, inside].astype(np.float64), right[:, inside].astype(np.float64)


def _numbered(groups: list[str | None]) -> np.ndarray:
    order = {group: number for number, group in enumerate(dict.fromkeys(filter(None, groups)))}
    return np.array([order[group] if group else NEITHER for group in groups], dtype=int)


def _kernel(library: Any, distances: Any, products: Any, parameters: Any) -> Any:
    """Covariance of a smooth function and trends, by NumPy or torch."""
    lengths, trends = parameters[2 : 2 + len(distances)], parameters[2 + len(distances) :]
    squared = library.einsum("b,bmn->mn", library.exp(-2 * lengths), distances)
    r = library.sqrt(5 * squared + 1e-12)  # the gradient of a root has no value at zero
    smooth = library.exp(parameters[1]) * (1 + r + r**2 / 3) * library.exp(-r)
    return smooth + library.einsum("t,tmn->mn", library.exp(trends), products)


def _covariance(distances: "torch.Tensor", products: "torch.Tensor", parameters: "torch.Tensor") -> "torch.Tensor":
    import torch

    noise = torch.exp(parameters[0]) + JITTER
    n_rows = distances.shape[1]
    return _kernel(torch, distances, products, parameters) + noise * torch.eye(n_rows, dtype=torch.float64)
