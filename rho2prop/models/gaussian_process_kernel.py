"""Covariance function of the Gaussian process: a Matérn function of the blocks' distances, plus trends. NumPy alone."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

NEITHER = -1  # in ``smooth`` and ``trend``
CHUNK_ELEMENTS = 2**20  # of a matrix at a time, 8 MB of each array: memory does not grow with the rows predicted
SMALLEST_SQUARE = 1e-12  # the gradient of a root has no value at zero


@dataclass(frozen=True)
class Kernel:
    """A covariance function with its hyper-parameters.

    Parameters
    ----------
    smooth, trend
        Of each column the number of its Matérn block and of its trend, −1: none; shape (F,).
    hyperparameters
        Logarithms of noise variance, signal variance, the length of each block and the variance of each trend.
    """

    smooth: np.ndarray
    trend: np.ndarray
    hyperparameters: np.ndarray

    @property
    def noise(self) -> float:
        """Variance of the noise, relative to that of the labels."""
        return float(np.exp(self.hyperparameters[0]))

    def between(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Covariances without noise, shape (M, N), of rows of shape (M, F) and (N, F).

        Block after block is added in place: at most four arrays of that shape exist at a time.
        """
        n_lengths = self.smooth.max(initial=NEITHER) + 1
        lengths, trends = self.hyperparameters[2 : 2 + n_lengths], self.hyperparameters[2 + n_lengths :]
        r = np.zeros((len(left), len(right)))
        for weight, distances in zip(np.exp(-2 * lengths), each_distance(left, right, self.smooth), strict=True):
            distances *= weight
            r += distances
            del distances  # before the next is made
        r *= 5
        r += SMALLEST_SQUARE
        np.sqrt(r, out=r)
        covariance = r**2
        covariance /= 3
        covariance += 1 + r
        covariance *= np.exp(self.hyperparameters[1])
        np.exp(np.negative(r, out=r), out=r)
        covariance *= r
        r[:] = 0.0  # now the sum of the trends
        for weight, products in zip(np.exp(trends), each_product(left, right, self.trend), strict=True):
            products *= weight
            r += products
            del products
        covariance += r
        return covariance

    def variance(self, rows: np.ndarray) -> np.ndarray:
        """Prior variances without noise, shape (M,), of rows of shape (M, F): the diagonal of ``between``."""
        trends = self.hyperparameters[len(self.hyperparameters) - self.trend.max(initial=NEITHER) - 1 :]
        variances = np.full(len(rows), np.exp(self.hyperparameters[1]))
        for group, weight in enumerate(np.exp(trends)):
            variances += weight * (rows[:, self.trend == group].astype(np.float64) ** 2).mean(axis=1)
        return variances

    def combine(self, left: np.ndarray, right: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Covariances times weights, shape (M,), a chunk of ``left`` at a time."""
        parts = [self.between(left[chunk], right) @ weights for chunk in chunks(len(left), len(right))]
        return np.concatenate(parts) if parts else np.empty(0)


def chunks(n_rows: int, n_columns: int) -> Iterator[slice]:
    """Slices of the rows of a matrix, each of at most ``CHUNK_ELEMENTS`` elements (or one row)."""
    step = max(1, CHUNK_ELEMENTS // max(1, n_columns))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def each_distance(left: np.ndarray, right: np.ndarray, group_of: np.ndarray) -> Iterator[np.ndarray]:
    """Mean squared difference over the columns of each group, shape (M, N), float64."""
    for a, b in _grouped(left, right, group_of):
        squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None]
        squared -= 2 * a @ b.T
        np.maximum(squared, 0.0, out=squared)
        squared /= a.shape[1]
        yield squared


def each_product(left: np.ndarray, right: np.ndarray, group_of: np.ndarray) -> Iterator[np.ndarray]:
    """Mean product over the columns of each group, shape (M, N), float64."""
    for a, b in _grouped(left, right, group_of):
        products = a @ b.T
        products /= a.shape[1]
        yield products


def _grouped(left: np.ndarray, right: np.ndarray, group_of: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for group in range(group_of.max(initial=NEITHER) + 1):
        inside = group_of == group
        yield left[:, inside].astype(np.float64), right[:, inside].astype(np.float64)
