import numpy as np
import pytest
from scipy import fft

from rho2prop.densities.fourier import half_spectrum, resample, wave_vectors


@pytest.mark.parametrize("fine", [(9, 8, 7), (12, 13, 14)])
def test_up_and_down_again_is_the_identity_and_keeps_the_mean(fine):
    values = np.random.default_rng(1).normal(size=(6, 7, 5))
    up = resample(values, fine)
    assert up.mean() == pytest.approx(values.mean(), rel=1e-12)
    np.testing.assert_allclose(resample(up, values.shape), values, atol=1e-12)


def test_a_plane_wave_stays_that_wave():
    x = np.arange(12) / 12
    wave = np.cos(4 * np.pi * x)[:, None, None] * np.ones((1, 4, 4))
    expected = np.cos(4 * np.pi * np.arange(7) / 7)
    np.testing.assert_allclose(resample(wave, (7, 3, 5))[:, 0, 0], expected, atol=1e-12)


def test_gradient_of_a_wave_in_a_triclinic_cell():
    lattice = np.array([[3.0, 0.2, 0.0], [-0.5, 4.0, 0.1], [0.3, 0.2, 5.0]])
    shape = (8, 9, 10)
    wave_vector = 2 * np.pi * np.array([1, -2, 3]) @ np.linalg.inv(lattice).T
    fractions = np.stack(np.meshgrid(*[np.arange(n) / n for n in shape], indexing="ij"), axis=-1)
    phase = fractions @ lattice @ wave_vector
    wave = wave_vectors(lattice, shape)
    for axis in range(3):
        derivative = fft.irfftn(1j * wave[axis] * half_spectrum(np.sin(phase)), shape)
        np.testing.assert_allclose(derivative, wave_vector[axis] * np.cos(phase), atol=1e-10)
