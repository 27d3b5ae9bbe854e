"""Weights of a Gaussian process whose hyper-parameters are known: an exact solve in place, or one by inducing points.

Both also predict the rows from ``n_train`` on from those before them: the validation part, before it is learned from.
A predictive variance would come from the same Cholesky factors.

Matrices are in Fortran order, of which LAPACK overwrites the upper triangle: nothing is copied.
"""

import numpy as np
from scipy.linalg.blas import dsyrk, dtrsm, dtrsv
from scipy.linalg.lapack import dpotrf

from rho2prop.models.gaussian_process_kernel import Kernel, chunks

JITTER = 1e-9  # on the diagonal, of the variance of the labels


def exact(kernel: Kernel, rows: np.ndarray, labels: np.ndarray, n_train: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights (K + σ² 1)⁻¹ y, and predictions of the last rows from the first ``n_train``.

    Parameters
    ----------
    kernel
        Covariance function.
    rows
        Scaled features, shape (N, F).
    labels
        Scaled, shape (N,).
    n_train
        Number of rows that come first in the order of learning.

    Returns
    -------
    numpy.ndarray
        Weights, shape (N,).
    numpy.ndarray
        Predictions of the other rows from these, shape (N − n_train,).

    Notes
    -----
    With K + σ² 1 = UᵀU and z = U⁻ᵀy, the first rows and columns of U factorise the matrix of the first rows alone, so
    that U₁₂ᵀ z₁ = K₂₁ (K₁₁ + σ² 1)⁻¹ y₁ costs no solve of its own. Memory: N² numbers and a chunk.
    """
    factor = _factor(kernel, rows, kernel.noise + JITTER)
    whitened = dtrsv(factor, labels, trans=1)
    return dtrsv(factor, whitened), factor[:n_train, n_train:].T @ whitened[:n_train]


def sparse(
    kernel: Kernel, rows: np.ndarray, labels: np.ndarray, n_train: int, inducing: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weights over inducing points, and predictions of the last rows from the first ``n_train``.

    The mean of the projected process and of its variational form (M. K. Titsias, AISTATS 2009, eq. 6):
    w = (σ² K_mm + K_mn K_nm)⁻¹ K_mn y, exact where the inducing points are all rows.

    Parameters
    ----------
    kernel, rows, labels, n_train
        As for ``exact``.
    inducing
        Rows that represent the others, shape (M, F).

    Returns
    -------
    numpy.ndarray
        Weights of the inducing points, shape (M,).
    numpy.ndarray
        Predictions of the other rows from the first, shape (N − n_train,).

    Notes
    -----
    With K_mm = UᵀU and V = U⁻ᵀK_mn, w = U⁻¹ (σ² 1 + V Vᵀ)⁻¹ V y, whose matrix is better conditioned; V comes a chunk of
    rows at a time. Memory: 3 M² numbers and a chunk.
    """
    factor = _factor(kernel, inducing, JITTER)
    products, projected = np.zeros_like(factor), np.zeros(len(inducing))

    def learn(part: slice) -> np.ndarray:
        nonlocal products, projected
        for chunk in chunks(len(rows[part]), len(inducing)):
            covariances = kernel.between(rows[part][chunk], inducing).T
            covariances = dtrsm(1.0, factor, covariances, trans_a=1, overwrite_b=1)
            products = dsyrk(1.0, covariances, beta=1.0, c=products, overwrite_c=1)
            projected += covariances @ labels[part][chunk]
        matrix = products.copy(order="F")
        matrix[np.diag_indices(len(matrix))] += kernel.noise + JITTER
        inner = _cholesky(matrix)
        return dtrsv(factor, dtrsv(inner, dtrsv(inner, projected, trans=1)))

    left_out = kernel.combine(rows[n_train:], inducing, learn(slice(0, n_train)))
    return learn(slice(n_train, None)), left_out


def spread(kernel: Kernel, known: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Predictive standard deviations with noise, shape (M,), of rows of shape (M, F), given labels of ``known`` (N, F).

    Source: Rasmussen and Williams (as in ``rho2prop.models.gaussian_process``), eq. 2.26.
    """
    factor = _factor(kernel, known, kernel.noise + JITTER)
    variances = kernel.variance(rows)
    for chunk in chunks(len(rows), len(known)):
        whitened = dtrsm(1.0, factor, kernel.between(rows[chunk], known).T, trans_a=1, overwrite_b=1)
        variances[chunk] -= (whitened**2).sum(axis=0)
    return np.sqrt(np.maximum(variances, 0.0) + kernel.noise)


def _factor(kernel: Kernel, rows: np.ndarray, diagonal: float) -> np.ndarray:
    """Cholesky factor of the covariances of all rows; below its diagonal is what was in memory."""
    matrix = np.empty((len(rows), len(rows)), order="F")
    for chunk in chunks(len(rows), len(rows)):
        matrix[: chunk.stop, chunk] = kernel.between(rows[: chunk.stop], rows[chunk])
    matrix[np.diag_indices(len(rows))] += diagonal
    return _cholesky(matrix)


def _cholesky(matrix: np.ndarray) -> np.ndarray:
    factor, status = dpotrf(matrix, lower=0, clean=0, overwrite_a=1)
    if status:
        raise FloatingPointError(f"row {status} of {len(matrix)}: the covariance matrix is not positive definite")
    return factor
