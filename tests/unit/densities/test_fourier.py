import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import fft

from rho2prop.densities.fourier import half_spectrum, resample, shifted_spectrum, wave_vectors


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


SHAPES = st.tuples(*[st.integers(1, 9)] * 3)
SEEDS = st.integers(0, 2**32 - 1)


def field(seed, shape):
    return np.random.default_rng(seed).normal(size=shape)


@given(SEEDS, SHAPES, SHAPES)
def test_resampling_keeps_the_mean_and_shared_waves(seed, old, new):
    """Odd and even, up and down, each axis on its own: waves below both Nyquist limits stay, others vanish."""
    values = field(seed, old)
    resampled = resample(values, new)
    assert resampled.shape == new
    assert resampled.mean() == pytest.approx(values.mean(), abs=1e-12)
    before, after = fft.fftn(values) / values.size, fft.fftn(resampled) / resampled.size
    limits = [(min(n, m) - 1) // 2 for n, m in zip(old, new, strict=True)]
    for wave in np.ndindex(*[2 * limit + 1 for limit in limits]):
        index = tuple(i - limit for i, limit in zip(wave, limits, strict=True))
        assert after[index] == pytest.approx(before[index], abs=1e-12)
    beyond = [[i for i in range(m) if min(i, m - i) > min(n, m) / 2] for n, m in zip(old, new, strict=True)]
    for axis, indices in enumerate(beyond):
        assert np.abs(np.take(after, indices, axis)).max(initial=0) < 1e-12


@given(SEEDS, SHAPES, st.tuples(*[st.integers(0, 8)] * 3))
def test_a_finer_grid_and_back_is_the_identity(seed, shape, more):
    values = field(seed, shape)
    finer = tuple(n + extra for n, extra in zip(shape, more, strict=True))
    np.testing.assert_allclose(resample(resample(values, finer), shape), values, atol=1e-12)


@given(SEEDS, SHAPES, st.tuples(*[st.integers(-20, 20)] * 3))
def test_a_shift_by_grid_points_is_a_roll_of_the_waves_below_nyquist(seed, shape, points):
    values = field(seed, shape)
    moved = shifted_spectrum(half_spectrum(values), shape, np.array(points) / shape)
    np.testing.assert_allclose(moved, half_spectrum(np.roll(values, points, axis=(0, 1, 2))), atol=1e-11)


@given(SEEDS, SHAPES, *[st.tuples(*[st.floats(-2, 2)] * 3)] * 2)
def test_shifts_add_up_and_keep_the_mean_and_the_square(seed, shape, first, second):
    spectrum = half_spectrum(field(seed, shape))
    twice = shifted_spectrum(shifted_spectrum(spectrum, shape, first), shape, second)
    np.testing.assert_allclose(twice, shifted_spectrum(spectrum, shape, np.add(first, second)), atol=1e-10)
    np.testing.assert_allclose(np.abs(twice), np.abs(spectrum), atol=1e-11)
    assert twice[0, 0, 0] == pytest.approx(spectrum[0, 0, 0], abs=1e-11)
