"""Gaussian process regression of one target: trends plus one length scale for each feature block.

Of a positive target the logarithm is the sum of straight lines in a few columns and of a smooth function of all others,
each with its own prior variance (universal kriging; C. E. Rasmussen, C. K. I. Williams, Gaussian Processes for Machine
Learning, MIT Press 2006, ch. 2.7, 4 and 5):

- contributions of the elements: the columns of the block composition;
- powers of the scales that moduli have: those named in ``SCALES``, which are logarithms;
- a Matérn function, ν = 5/2, of the distance r, r² = Σ_b d_b² / l_b², d_b² the mean squared difference over the columns
  of block b (the composition is left to its trend).

Everything is chosen by the marginal likelihood times a prior on the lengths: nothing is tuned on a validation part.

One likelihood with its gradient takes about 40 N² numbers of memory. So beyond ``likelihood_rows`` a random subset of
the rows chooses the hyper-parameters, and all rows are solved once; beyond ``exact_rows`` by inducing points.

The predictive variance follows from at most ``SPREAD_ROWS`` of the rows, so that bundles need not hold a matrix of all.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from rho2prop.core.targets import TARGETS, spread_of
from rho2prop.features.design_matrix import DesignMatrix
from rho2prop.features.registry import SHARES
from rho2prop.models.estimator import Fitting, FoldData, Predictions
from rho2prop.models.gaussian_process_kernel import (
    NEITHER,
    SMALLEST_SQUARE,
    Kernel,
    each_distance,
    each_product,
)
from rho2prop.models.gaussian_process_solve import JITTER, exact, sparse, spread
from rho2prop.models.settings import GaussianProcessSettings

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
# of the logarithms
BOUNDS = {"noise": (-12.0, 2.0), "signal": (-6.0, 6.0), "length": (-4.0, 6.0), "trend": (-10.0, 6.0)}
STARTS = ((-4.0, 0.0, 0.0, 0.0), (-2.0, 0.0, 1.5, 0.0))  # log noise variance, log variance, log lengths, log trends
LENGTH_PRIOR = 1.0, 1.0  # mean and standard deviation of log lengths: with few materials they are not left to chance
SPREAD_ROWS = 1000  # that the predictive variance knows of
TOLERANCE = 1e-6  # relative, of the posterior: errors do not change below it


@dataclass(frozen=True)
class GaussianProcess:
    """A fitted Gaussian process (GP).

    Parameters
    ----------
    rows
        Scaled features of the training rows, or of the inducing points, shape (N, F), float32.
    weights
        What their covariances with a row are multiplied by, shape (N,); (K + σ² 1)⁻¹ y of an exact solve.
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
        kernel = Kernel(self.smooth, self.trend, self.hyperparameters)
        return self.in_unit(kernel.combine(features.astype(np.float32), self.rows, self.weights))

    def spread(self, features: np.ndarray, n_rows: int | None = None) -> np.ndarray:
        """Predictive standard deviations of the labels (of their logarithms where ``is_log``), shape (M,).

        Parameters
        ----------
        features
            Scaled, shape (M, F).
        n_rows
            Only the first so many rows are known; None: all.
        """
        known = self.rows[:n_rows]
        known = known[np.unique(np.linspace(0, len(known) - 1, min(len(known), SPREAD_ROWS)).astype(int))]
        kernel = Kernel(self.smooth, self.trend, self.hyperparameters)
        return self.scale * spread(kernel, known, features.astype(np.float32))

    def in_unit(self, scaled: np.ndarray) -> np.ndarray:
        """Values as they are fitted, in the unit of the target."""
        values = scaled * self.scale + self.mean
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


@dataclass(frozen=True)
class LabelledRows:
    """Features and labels that a GP learns from.

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
    n_train
        The rows from here on validate: they are also predicted from the rows before them.
    """

    features: np.ndarray
    column_blocks: list[str]
    column_names: tuple[str, ...]
    labels: np.ndarray
    learns_logarithm: bool
    n_train: int


class GaussianProcesses:
    """One GP per target."""

    def __init__(self, processes: dict[str, GaussianProcess] | None = None):
        self.processes = processes or {}

    def fit(self, data: FoldData, fitting: Fitting) -> Predictions:
        unseen = {}
        for target in data.targets:
            train, train_labels, validation, validation_labels = data.known(target)
            labelled = LabelledRows(
                np.vstack([train, validation]),
                data.train.column_blocks,
                data.train.column_names,
                np.concatenate([train_labels, validation_labels]),
                TARGETS[target].learns_logarithm,
                len(train),
            )
            process, left_out = fit(labelled, fitting.settings, fitting.seed(target), fitting.threads)
            self.processes[target] = process
            unseen[target] = data.on_validation_rows(target, left_out)
            has_all = len(process.rows) == len(labelled.features)  # inducing points are of the training part
            n_known = len(train) if has_all else None
            spreads = process.spread(validation, n_known)
            unseen[spread_of(target)] = data.on_validation_rows(target, spreads)
            fitting.advance(1)
        return unseen

    def predict(self, matrix: DesignMatrix) -> Predictions:
        return {target: process.predict(matrix.tabular) for target, process in self.processes.items()}

    def spreads(self, matrix: DesignMatrix) -> Predictions:
        """Predictive standard deviations, shape (N,), by ``spread_of(target)``."""
        return {spread_of(target): process.spread(matrix.tabular) for target, process in self.processes.items()}

    def save(self, folder: Path) -> None:
        for target, process in self.processes.items():
            process.save(folder / f"{target}.npz")

    @classmethod
    def load(cls, folder: Path, targets: list[str]) -> Self:
        return cls({target: load(folder / f"{target}.npz") for target in targets})


def fit(
    labelled: LabelledRows, settings: GaussianProcessSettings, seed: int, threads: int
) -> tuple[GaussianProcess, np.ndarray]:
    """Fit a GP to all rows.

    Parameters
    ----------
    labelled
        The rows.
    settings
        How many rows take part in what.
    seed
        Of the random rows that stand for all.
    threads
        CPU threads.

    Returns
    -------
    GaussianProcess
        With the best of the posteriors found from two starts.
    numpy.ndarray
        Predictions for the validation rows from the training rows, at the same hyper-parameters, in the unit of the
        target, shape (N − n_train,).
    """
    import torch

    torch.set_num_threads(threads)
    labels, n_train = labelled.labels, labelled.n_train
    values = np.log(labels) if labelled.learns_logarithm else labels.astype(float)
    mean, scale = float(values.mean()), float(values.std()) or 1.0
    scaled = (values - mean) / scale
    rows = labelled.features.astype(np.float32)
    smooth = _numbered([block if block != SHARES else None for block in labelled.column_blocks])
    trend = _numbered(
        [
            SHARES if block == SHARES else "scales" if name in SCALES else None
            for block, name in zip(labelled.column_blocks, labelled.column_names, strict=True)
        ]
    )
    is_small = len(rows) <= settings.likelihood_rows
    subset = slice(None) if is_small else _some(len(rows), settings.subset_rows, seed)
    kernel = Kernel(smooth, trend, _best_hyperparameters(rows[subset], scaled[subset], smooth, trend))
    with threadpool_limits(limits=threads):
        if is_small:
            weights = _weights(kernel, rows, scaled)
            first = _weights(kernel, rows[:n_train], scaled[:n_train])
            left_out = kernel.combine(rows[n_train:], rows[:n_train], first)
        elif len(rows) <= settings.exact_rows:
            weights, left_out = exact(kernel, rows, scaled, n_train)
        else:  # validation rows represent nothing: they are predicted as if they were unknown
            inducing = rows[_some(n_train, settings.inducing_rows, seed)]
            weights, left_out = sparse(kernel, rows, scaled, n_train, inducing)
            rows = inducing
    hyperparameters, is_log = kernel.hyperparameters, labelled.learns_logarithm
    process = GaussianProcess(rows, weights, smooth, trend, hyperparameters, mean, scale, is_log)
    return process, process.in_unit(left_out)


def _best_hyperparameters(rows: np.ndarray, scaled: np.ndarray, smooth: np.ndarray, trend: np.ndarray) -> np.ndarray:
    import torch

    distances, products, labels = *_stacks(rows, smooth, trend), torch.from_numpy(scaled)
    n_lengths = len(distances)

    def loss(logarithms: np.ndarray) -> tuple[float, np.ndarray]:
        parameters = torch.from_numpy(logarithms).requires_grad_()
        factor, status = torch.linalg.cholesky_ex(_covariance(distances, products, parameters))
        if status:
            return 1e10, np.zeros_like(logarithms)
        weights = torch.cholesky_solve(labels[:, None], factor)[:, 0]
        away = (parameters[2 : 2 + n_lengths] - LENGTH_PRIOR[0]) / LENGTH_PRIOR[1]
        value = 0.5 * labels @ weights + factor.diagonal().log().sum() + 0.5 * away @ away
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
    return min(found, key=lambda one: one.fun).x


def _weights(kernel: Kernel, rows: np.ndarray, scaled: np.ndarray) -> np.ndarray:
    """(K + σ² 1)⁻¹ y with the matrix of the likelihood, to the last bit."""
    import torch

    covariance = _covariance(*_stacks(rows, kernel.smooth, kernel.trend), torch.from_numpy(kernel.hyperparameters))
    factor = torch.linalg.cholesky(covariance)
    return torch.cholesky_solve(torch.from_numpy(scaled)[:, None], factor)[:, 0].numpy()


def _some(n_rows: int, count: int, seed: int) -> np.ndarray:
    """Numbers of at most ``count`` random rows in order."""
    return np.sort(np.random.default_rng(seed).permutation(n_rows)[:count])


def _numbered(groups: list[str | None]) -> np.ndarray:
    order = {group: number for number, group in enumerate(dict.fromkeys(filter(None, groups)))}
    return np.array([order[group] if group else NEITHER for group in groups], dtype=int)


def _stacks(rows: np.ndarray, smooth: np.ndarray, trend: np.ndarray) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Distances by block, shape (B, N, N), and products by trend, shape (T, N, N)."""
    import torch

    shape = -1, len(rows), len(rows)
    distances, products = list(each_distance(rows, rows, smooth)), list(each_product(rows, rows, trend))
    return torch.from_numpy(np.array(distances).reshape(shape)), torch.from_numpy(np.array(products).reshape(shape))


def _covariance(distances: "torch.Tensor", products: "torch.Tensor", parameters: "torch.Tensor") -> "torch.Tensor":
    """``Kernel.between`` and the noise, for gradients."""
    import torch

    lengths, trends = parameters[2 : 2 + len(distances)], parameters[2 + len(distances) :]
    squared = torch.einsum("b,bmn->mn", torch.exp(-2 * lengths), distances)
    r = torch.sqrt(5 * squared + SMALLEST_SQUARE)
    smooth = torch.exp(parameters[1]) * (1 + r + r**2 / 3) * torch.exp(-r)
    kernel = smooth + torch.einsum("t,tmn->mn", torch.exp(trends), products)
    noise = torch.exp(parameters[0]) + JITTER
    return kernel + noise * torch.eye(distances.shape[1], dtype=torch.float64)
