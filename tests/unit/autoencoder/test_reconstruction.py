from dataclasses import replace

import numpy as np
import pytest

from rho2prop.autoencoder.reconstruction import errors, fourier_truncated, zfp_compressed

pytestmark = pytest.mark.slow  # torch


def test_all_waves_give_the_density_back(density):
    n_bytes, values = fourier_truncated(density, budget_bytes=10**7)
    assert n_bytes < 4 * density.values.size
    np.testing.assert_allclose(values, density.values, rtol=0, atol=1e-3 * density.values.max())  # float16


@pytest.mark.parametrize("budget_bytes", [400, 4000])
def test_truncation_keeps_the_electrons_and_the_budget(density, budget_bytes):
    n_bytes, values = fourier_truncated(density, budget_bytes)
    assert n_bytes <= budget_bytes
    assert values.mean() == pytest.approx(density.values.mean(), rel=1e-9)


def test_more_bytes_mean_smaller_errors(density):
    everything = np.ones(density.values.shape, dtype=bool)
    for method in (lambda n: fourier_truncated(density, n), lambda n: zfp_compressed(density.values, n)):
        found = [errors(density.values, method(n)[1], everything)["nmae"] for n in (800, 3000, 12000)]
        assert found[0] > found[1] > found[2]


@pytest.mark.parametrize("budget_bytes", [500, 2048, 16384])
def test_zfp_stays_within_its_budget(density, budget_bytes):
    n_bytes, values = zfp_compressed(density.values, budget_bytes)
    assert 0.3 * budget_bytes < n_bytes <= budget_bytes
    assert values.shape == density.values.shape


def test_errors_count_only_the_real_cell():
    original, rebuilt = np.zeros((2, 2, 2)), np.zeros((2, 2, 2))
    original[0], rebuilt[0], rebuilt[1] = 2.0, 1.5, 3.0
    mask = np.zeros((2, 2, 2), dtype=bool)
    mask[0] = True
    found = errors(original, rebuilt, mask)
    assert found["nmae"] == pytest.approx(0.25)
    assert found["mae"] == pytest.approx((4 * 0.5 + 4 * 3.0) / 8)
    assert found["mse"] == pytest.approx((4 * 0.25 + 4 * 9.0) / 8)


def test_waves_of_a_field_without_a_mean_are_kept_too(density):
    """A difference density integrates to zero: relative to its mean every wave would overflow float16."""
    values = (density.values - density.values.mean()).astype(np.float32)
    for offset in (0.0, 1e-12):
        _, rebuilt = fourier_truncated(replace(density, values=values + np.float32(offset)), 10**7)
        np.testing.assert_allclose(rebuilt, values, rtol=0, atol=1e-3 * np.abs(values).max())
