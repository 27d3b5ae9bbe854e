"""Periodic fields on regular grids: resampling and derivatives in Fourier space."""

import numpy as np
from scipy import fft


def resample(values: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Band-limited resampling of a periodic field; its mean (so the electron count) is kept.

    Parameters
    ----------
    values
        Field, shape (nx, ny, nz), periodic, real.
    shape
        Number of points along each axis of the result.

    Returns
    -------
    np.ndarray
        Field, shape ``shape``, float64. Frequencies above either grid's limit are dropped; the Nyquist
        term of an even axis is shared between +n/2 and -n/2 so that the result stays real.
    """
    from scipy import signal  # slow to import, seldom needed

    resampled = np.asarray(values, dtype=np.float64)
    for axis, n_points in enumerate(shape):
        if n_points != values.shape[axis]:
            resampled = signal.resample(resampled, n_points, axis=axis)
    return resampled


def wave_vectors(lattice: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Wave vectors of the half-complex transform ``rfftn``, in 1/Å.

    Parameters
    ----------
    lattice
        Lattice vectors in Å as rows, shape (3, 3).
    shape
        Grid points along each lattice vector.

    Returns
    -------
    np.ndarray
        Shape (3, nx, ny, nz // 2 + 1), including the factor 2π.
    """
    reciprocal = 2 * np.pi * np.linalg.inv(lattice).T  # rows are reciprocal vectors
    indices = np.meshgrid(
        fft.fftfreq(shape[0], 1 / shape[0]),
        fft.fftfreq(shape[1], 1 / shape[1]),
        fft.rfftfreq(shape[2], 1 / shape[2]),
        indexing="ij",
    )
    return np.einsum("ixyz,ij->jxyz", np.stack(indices), reciprocal)


def shifted_spectrum(spectrum: np.ndarray, shape: tuple[int, int, int], fractions: np.ndarray) -> np.ndarray:
    """Half spectrum of a field moved by fractions of its lattice vectors (Fourier shift theorem).

    Parameters
    ----------
    spectrum
        As ``half_spectrum`` returns it, shape (nx, ny, nz // 2 + 1); its Nyquist terms, which have no definite phase,
        are zero.
    shape
        Grid points (nx, ny, nz).
    fractions
        Distance along each lattice vector in units of it, shape (3,).

    Returns
    -------
    np.ndarray
        Complex, shape (nx, ny, nz // 2 + 1).
    """
    for axis, (n_points, fraction) in enumerate(zip(shape, fractions, strict=True)):
        frequencies = (fft.rfftfreq if axis == 2 else fft.fftfreq)(n_points, 1 / n_points)
        phase = np.exp(-2j * np.pi * frequencies * fraction)
        spectrum = spectrum * phase.reshape([-1 if i == axis else 1 for i in range(3)])
    return spectrum


def half_spectrum(values: np.ndarray) -> np.ndarray:
    """``rfftn`` of a periodic field without its Nyquist terms.

    A derivative of the Nyquist term of an even axis depends on the sign given to its frequency, and so on the
    choice of axes; without it, derivatives of the field are the same in each setting of the cell.

    Parameters
    ----------
    values
        Real field, shape (nx, ny, nz), periodic.

    Returns
    -------
    np.ndarray
        Complex, shape (nx, ny, nz // 2 + 1).
    """
    spectrum = fft.rfftn(np.asarray(values, dtype=np.float64))
    for axis, n_points in enumerate(values.shape):
        if n_points % 2 == 0:
            np.moveaxis(spectrum, axis, 0)[n_points // 2] = 0.0
    return spectrum
