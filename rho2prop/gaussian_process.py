"""Gaussian process regression of one target: one length scale for each feature block, by the marginal likelihood.

Matérn kernel with ν = 5/2 on the distance r, r² = Σ_b d_b² / l_b², d_b² the mean squared difference over the columns of
block b (C. E. Rasmussen, C. K. I. Williams, Gaussian Processes for Machine Learning, MIT Press 2006, ch. 4 and 5).
"""

import itertools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize

LEAST_SHARE = 0.5  # of the smallest label: the least that is predicted of a positive target
JITTER = 1e-8  # of the variance, on the diagonal
BOUNDS = {"signal": (-4.0, 6.0), "noise": (-12.0, 2.0), "length": (-4.0, 6.0)}  # of the logarithms
STARTS = ((0.0, -4.0, 0.0), (0.0, -2.0, 1.5))  # log variance, log noise variance, log lengths


@dataclass(frozen=True)
class GaussianProcess:
    """A fitted process.

    Parameters
    ----------
    rows
        Scaled features of the training rows, shape (N, F), float32.
    weights
        (K + σ² 1)⁻¹ y, shape (N,).
    starts
        First column of each block, and the number of columns at the end.
    hyperparameters
        Logarithms of signal variance, noise variance and the length scale of each block.
    mean, scale
        Of the labels (of their square roots where ``is_root``).
    is_root
        Whether the target is positive and its square root was fitted: predictions are then medians. (On the validation
        parts of the bench better than the logarithm, which lets the softest materials decide.)
    least
        Smallest value that is predicted, of a positive target: above zero.
    """

    rows: np.ndarray
    weights: np.ndarray
    starts: np.ndarray
    hyperparameters: np.ndarray
    mean: float
    scale: float
    is_root: bool
    least: float

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Values in the unit of the target, shape (M,), for scaled features of shape (M, F)."""
        distances = block_distances(features.astype(np.float32), self.rows, self.starts)
        kernel = _kernel(torch.from_numpy(distances), torch.from_numpy(self.hyperparameters)).numpy()
        values = kernel @ self.weights * self.scale + self.mean
        return np.maximum(np.maximum(values, 0.0) ** 2, self.least) if self.is_root else values

    def save(self, path: Path) -> None:
        """Write one ``.npz``."""
        np.savez(path, **{name: np.asarray(value) for name, value in vars(self).items()})


def load(path: Path) -> GaussianProcess:
    """Read what ``GaussianProcess.save`` wrote."""
    with np.load(path) as arrays:
        scalars = {name: arrays[name].item() for name in ("mean", "scale", "is_root", "least")}
        return GaussianProcess(**{name: arrays[name] for name in arrays.files if name not in scalars}, **scalars)


def fit(
    features: np.ndarray, column_blocks: list[str], labels: np.ndarray, is_positive: bool, threads: int
) -> GaussianProcess:
    """Fit a process to all rows given: nothing is tuned on a validation part.

    Parameters
    ----------
    features
        Scaled features, shape (N, F).
    column_blocks
        Block of each column; columns of a block stand together.
    labels
        Shape (N,), finite.
    is_positive
        Fit the square root, and predict nothing below ``LEAST_SHARE`` of the smallest label.
    threads
        CPU threads.

    Returns
    -------
    GaussianProcess
        With the best of the marginal likelihoods found from two starts.
    """
    torch.set_num_threads(threads)
    values = np.sqrt(labels) if is_positive else labels.astype(float)
    mean, scale = float(values.mean()), float(values.std()) or 1.0
    scaled = torch.from_numpy((values - mean) / scale)
    rows = features.astype(np.float32)
    changes = [i for i, block in enumerate(column_blocks) if i == 0 or block != column_blocks[i - 1]]
    starts = np.array([*changes, len(column_blocks)])
    distances = torch.from_numpy(block_distances(rows, rows, starts))

    def loss(logarithms: np.ndarray) -> tuple[float, np.ndarray]:
        parameters = torch.from_numpy(logarithms).requires_grad_()
        factor, status = torch.linalg.cholesky_ex(_covariance(distances, parameters))
        if status:
            return 1e10, np.zeros_like(logarithms)
        weights = torch.cholesky_solve(scaled[:, None], factor)[:, 0]
        value = 0.5 * scaled @ weights + factor.diagonal().log().sum()
        value.backward()
        return float(value.detach()), parameters.grad.numpy()

    n_blocks = len(changes)
    bounds = [BOUNDS["signal"], BOUNDS["noise"], *[BOUNDS["length"]] * n_blocks]
    found = [
        minimize(loss, [signal, noise, *[length] * n_blocks], jac=True, method="L-BFGS-B", bounds=bounds)
        for signal, noise, length in STARTS
    ]
    best = min(found, key=lambda one: one.fun).x
    factor = torch.linalg.cholesky(_covariance(distances, torch.from_numpy(best)))
    weights = torch.cholesky_solve(scaled[:, None], factor)[:, 0].numpy()
    least = LEAST_SHARE * float(labels.min()) if is_positive else -math.inf
    return GaussianProcess(rows, weights, starts, best, mean, scale, is_positive, least)


def block_distances(left: np.ndarray, right: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Mean squared difference over the columns of each block, shape (B, M, N), float64."""
    found = []
    for begin, end in itertools.pairwise(starts):
        a, b = left[:, begin:end].astype(np.float64), right[:, begin:end].astype(np.float64)
        squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None] - 2 * a @ b.T
        found.append(np.maximum(squared, 0.0) / (end - begin))
    return np.stack(found)


def _kernel(distances: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
    inverse_squares = torch.exp(-2 * parameters[2:])
    squared = torch.einsum("b,bmn->mn", inverse_squares, distances)
    r = torch.sqrt(5 * squared + 1e-12)  # the gradient of a root has no value at zero
    return torch.exp(parameters[0]) * (1 + r + r**2 / 3) * torch.exp(-r)


def _covariance(distances: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
    noise = torch.exp(parameters[1]) + JITTER * math.exp(BOUNDS["signal"][0])
    return _kernel(distances, parameters) + noise * torch.eye(distances.shape[1], dtype=torch.float64)
