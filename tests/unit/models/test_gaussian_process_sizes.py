"""Gaussian processes of many rows: one solve in place, a subset for the hyper-parameters, inducing points, memory."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from rho2prop.models import gaussian_process, gaussian_process_memory
from rho2prop.models.gaussian_process import LabelledRows, _covariance, _stacks
from rho2prop.models.gaussian_process_kernel import CHUNK_ELEMENTS, Kernel, chunks
from rho2prop.models.gaussian_process_solve import exact, sparse
from rho2prop.models.settings import GaussianProcessSettings

pytestmark = pytest.mark.slow  # fits, and processes that are measured

N, N_TRAIN = 140, 110
BLOCKS = ["composition"] * 3 + ["magpie"] * 4 + ["elemental_solids"] * 2
SCALE = "elemental_solids.log_bulk_modulus_mean"
NAMES = (*(f"{block}.{number}" for number, block in enumerate(BLOCKS[:-1])), SCALE)
SMOOTH, TREND = np.array([-1] * 3 + [0] * 4 + [1] * 2), np.array([0] * 3 + [-1] * 5 + [1])
KERNEL = Kernel(SMOOTH, TREND, np.array([-4.0, 0.2, 0.5, 1.0, -0.5, -1.0]))
SMALL = GaussianProcessSettings(1500, 1200, 10_000, 4000, 8000)


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(1).standard_normal((N, len(BLOCKS))).astype(np.float32)


@pytest.fixture(scope="module")
def labels(rows):
    noise = 0.1 * np.random.default_rng(2).standard_normal(N)
    return np.sin(rows[:, 4]) + 0.5 * rows[:, 8].astype(float) + noise


def fit(rows, labels, settings, n_train=N_TRAIN, seed=0):
    labelled = LabelledRows(rows, BLOCKS, NAMES, np.exp(labels), True, n_train)
    return gaussian_process.fit(labelled, settings, seed, threads=1)


def solved(kernel, rows, labels):
    """(K + σ² 1)⁻¹ y as in a textbook."""
    covariance = kernel.between(rows, rows) + (kernel.noise + 1e-9) * np.eye(len(rows))
    return np.linalg.solve(covariance, labels)


def test_the_kernel_is_that_of_the_likelihood(rows):
    """Added block by block, or by torch from stacks of all blocks."""
    plain = _covariance(*_stacks(rows, SMOOTH, TREND), torch.from_numpy(KERNEL.hyperparameters)).numpy()
    np.testing.assert_allclose(
        KERNEL.between(rows, rows) + (KERNEL.noise + 1e-9) * np.eye(N), plain, rtol=1e-12, atol=1e-12
    )


def test_chunks_cover_all_rows_and_stay_small():
    n_columns = CHUNK_ELEMENTS // 10
    parts = list(chunks(105, n_columns))
    assert np.concatenate([np.arange(105)[part] for part in parts]).tolist() == list(range(105))
    assert max(part.stop - part.start for part in parts) * n_columns <= CHUNK_ELEMENTS
    assert [part.stop for part in chunks(2, 2 * CHUNK_ELEMENTS)] == [1, 2]


@pytest.mark.parametrize("n_elements", [CHUNK_ELEMENTS, 3 * N])
def test_an_exact_solve_in_place_is_that_of_the_textbook(rows, labels, monkeypatch, n_elements):
    """Whole, or three rows at a time; rows that validate are predicted from the others alone."""
    monkeypatch.setattr("rho2prop.models.gaussian_process_kernel.CHUNK_ELEMENTS", n_elements)
    weights, left_out = exact(KERNEL, rows, labels, N_TRAIN)
    np.testing.assert_allclose(weights, solved(KERNEL, rows, labels), rtol=1e-8, atol=1e-8)
    of_train = solved(KERNEL, rows[:N_TRAIN], labels[:N_TRAIN])
    expected = KERNEL.between(rows[N_TRAIN:], rows[:N_TRAIN]) @ of_train
    np.testing.assert_allclose(left_out, expected, atol=1e-10)


@pytest.mark.parametrize("n_elements", [CHUNK_ELEMENTS, 3 * N])
def test_inducing_points_that_are_all_rows_give_the_exact_result(rows, labels, monkeypatch, n_elements):
    monkeypatch.setattr("rho2prop.models.gaussian_process_kernel.CHUNK_ELEMENTS", n_elements)
    weights, _ = sparse(KERNEL, rows, labels, N_TRAIN, rows)
    unseen = np.random.default_rng(3).standard_normal((20, len(BLOCKS))).astype(np.float32)
    expected = KERNEL.between(unseen, rows) @ exact(KERNEL, rows, labels, N_TRAIN)[0]
    np.testing.assert_allclose(KERNEL.combine(unseen, rows, weights), expected, atol=1e-6)
    _, left_out = sparse(KERNEL, rows, labels, N_TRAIN, rows[:N_TRAIN])
    np.testing.assert_allclose(left_out, exact(KERNEL, rows, labels, N_TRAIN)[1], atol=1e-6)


def test_fewer_inducing_points_are_worse_but_learn_from_all_rows(rows, labels):
    """Better than an exact process of the inducing points alone, which does not see the other rows."""
    chosen = rows[:40]
    left_out = sparse(KERNEL, rows, labels, N_TRAIN, chosen)[1]
    alone = KERNEL.between(rows[N_TRAIN:], chosen) @ solved(KERNEL, chosen, labels[:40])
    error, whole, few = (
        np.abs(found - labels[N_TRAIN:]).mean() for found in (left_out, exact(KERNEL, rows, labels, N_TRAIN)[1], alone)
    )
    assert 0.8 * whole < error < few


@pytest.mark.parametrize("solve", [exact, lambda *data: sparse(*data, data[1])])
def test_without_noise_the_labels_are_met(rows, labels, solve):
    silent = replace(KERNEL, hyperparameters=np.array([-12.0, *KERNEL.hyperparameters[1:]]))
    weights, _ = solve(silent, rows, labels, N_TRAIN)
    assert np.abs(silent.between(rows, rows) @ weights - labels).max() < 1e-3
    loud = replace(KERNEL, hyperparameters=np.array([0.0, *KERNEL.hyperparameters[1:]]))
    weights, _ = solve(loud, rows, labels, N_TRAIN)
    assert np.abs(loud.between(rows, rows) @ weights - labels).max() > 0.1


def test_a_subset_of_all_rows_gives_the_numbers_of_a_small_fit(rows, labels):
    small, left_out = fit(rows, labels, SMALL)
    large, left_out_large = fit(rows, labels, replace(SMALL, likelihood_rows=N - 1, subset_rows=N))
    np.testing.assert_array_equal(large.hyperparameters, small.hyperparameters)
    np.testing.assert_allclose(large.predict(rows), small.predict(rows), rtol=1e-8)
    np.testing.assert_allclose(left_out_large, left_out, rtol=1e-8)
    points = replace(SMALL, likelihood_rows=N - 1, subset_rows=N, exact_rows=N - 1, inducing_rows=N)
    by_points, left_out_points = fit(rows, labels, points)
    assert len(by_points.rows) == N_TRAIN  # what validates represents nothing
    np.testing.assert_allclose(left_out_points, left_out, rtol=1e-4)


def test_a_subset_is_drawn_again_by_its_seed_and_learns_the_same_law(rows, labels):
    settings = replace(SMALL, likelihood_rows=N - 1, subset_rows=90)
    first, again, other = (fit(rows, labels, settings, seed=seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.weights, again.weights)
    assert not np.array_equal(first.hyperparameters, other.hyperparameters)
    unseen = np.random.default_rng(3).standard_normal((60, len(BLOCKS)))
    truth = np.sin(unseen[:, 4]) + 0.5 * unseen[:, 8]
    whole = fit(rows, labels, SMALL)[0]
    errors = [np.abs(np.log(process.predict(unseen)) - truth).mean() for process in (first, whole)]
    assert errors[0] < 1.3 * errors[1]


def test_memory_grows_with_the_rows_until_inducing_points_bound_it():
    sizes = [10, 100, 1000, 1500]
    found = [gaussian_process_memory.peak_mb(size, SMALL) for size in sizes]
    assert found == sorted(set(found))
    beyond = [gaussian_process_memory.peak_mb(size, SMALL) for size in (4000, 8000, 10_000)]
    assert beyond == sorted(beyond)
    assert gaussian_process_memory.peak_mb(10**6, SMALL) == gaussian_process_memory.peak_mb(10**5, SMALL)
    few = replace(SMALL, likelihood_rows=500, subset_rows=500)
    key, most = gaussian_process_memory.most_rows(9000, few, 600)
    assert key == "exact_rows"
    assert gaussian_process_memory.peak_mb(9000, replace(few, exact_rows=most)) <= 600


MEASURED = """
import re
import sys
from pathlib import Path
import numpy as np
from rho2prop.models import gaussian_process
from rho2prop.models.settings import GaussianProcessSettings

n_rows, settings = int(sys.argv[1]), GaussianProcessSettings(*map(int, sys.argv[2:]))
rng = np.random.default_rng(0)
blocks = [block for block in ("magpie", "structure", "composition") for _ in range(4)]
names = tuple(f"{block}.{number}" for number, block in enumerate(blocks))
labels = np.exp(rng.standard_normal(n_rows))
rows = rng.standard_normal((n_rows, 12))
gaussian_process.STARTS = gaussian_process.STARTS[:1]


def megabytes():
    return int(re.search("VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def fit(count):
    part = gaussian_process.LabelledRows(rows[:count], blocks, names, labels[:count], True, count * 4 // 5)
    gaussian_process.fit(part, settings, 0, threads=1)


fit(20)  # loads the libraries
Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
before = megabytes()
fit(n_rows)
print(megabytes() - before)
"""


@pytest.mark.parametrize(
    ("n_rows", "settings"),
    [
        (300, SMALL),
        (1200, replace(SMALL, likelihood_rows=100, subset_rows=50)),
        (1200, replace(SMALL, likelihood_rows=100, subset_rows=50, exact_rows=1000, inducing_rows=600)),
    ],
)
def test_what_is_requested_is_above_the_measured_peak(n_rows, settings):
    arguments = [str(value) for value in (n_rows, *vars(settings).values())]
    command = [sys.executable, "-c", MEASURED, *arguments]
    answer = subprocess.run(command, text=True, capture_output=True)
    assert answer.returncode == 0, answer.stderr
    assert 1 < float(answer.stdout) < gaussian_process_memory.peak_mb(n_rows, settings)
