"""Gaussian process with trends and one length scale per block, the blend with LightGBM, the share of whole blocks."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from standins.densities import gaussian_density

from rho2prop.core.errors import InputError
from rho2prop.core.targets import spread_of
from rho2prop.densities.crystal_description import CrystalDescription
from rho2prop.evaluation import importance
from rho2prop.features.description import describe
from rho2prop.features.design_matrix import DesignMatrix
from rho2prop.models import estimator, gaussian_process, registry
from rho2prop.models.estimator import Fitting
from rho2prop.models.gaussian_process import SCALES, LabelledRows
from rho2prop.models.gaussian_process_kernel import each_distance
from rho2prop.models.settings import BlendSettings, BoostingSettings, GaussianProcessSettings

pytestmark = pytest.mark.slow

BULK, ATOMIZATION = "bulk_modulus_gpa", "atomization_energy_ev_per_atom"
BLOCKS = ["magpie"] * 3 + ["fingerprint"] * 4
NAMES = tuple(f"{block}.{number}" for number, block in enumerate(BLOCKS))
BOOSTING = BoostingSettings(n_trials=2, max_rounds=60, patience=20, learning_rate=(0.1, 0.2), max_bin=31)
PROCESS = GaussianProcessSettings(1500, 1200, 10_000, 4000, 8000)
SETTINGS = {"gaussian_process": PROCESS, "blend": BlendSettings(PROCESS, BOOSTING), "lightgbm": BOOSTING}


def crystals(n_rows, seed=0):
    """Features of two blocks and a property that depends on the second alone."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((n_rows, len(BLOCKS)))
    return features, np.exp(4.0 + 0.5 * np.sin(features[:, 3]) + 0.3 * features[:, 4])


def fit(features, blocks, names, labels, learns_logarithm=True):
    rows = LabelledRows(features, blocks, names, labels, learns_logarithm, len(labels))
    return gaussian_process.fit(rows, PROCESS, seed=0, threads=1)[0]


@pytest.fixture(scope="module")
def fitted():
    features, labels = crystals(150)
    return features, labels, fit(features, BLOCKS, NAMES, labels)


def test_it_learns_which_block_matters(fitted):
    _, _, process = fitted
    unseen, truth = crystals(80, seed=1)
    predicted = process.predict(unseen)
    assert 1 - np.var(np.log(predicted / truth)) / np.var(np.log(truth)) > 0.9
    irrelevant, relevant = process.hyperparameters[2:]
    assert irrelevant > relevant + 1  # e times as long at least


def test_it_is_the_process_of_scikit_learn_with_the_same_hyperparameters(fitted):
    features, labels, process = fitted
    noise, variance = np.exp(process.hyperparameters[:2])
    widths = np.repeat(np.exp(process.hyperparameters[2:]), [3, 4]) * np.sqrt([3, 3, 3, 4, 4, 4, 4])
    kernel = ConstantKernel(variance) * Matern(widths, nu=2.5) + WhiteKernel(noise)
    reference = GaussianProcessRegressor(kernel, optimizer=None).fit(
        features, (np.log(labels) - process.mean) / process.scale
    )
    unseen, _ = crystals(20, seed=2)
    expected = np.exp(reference.predict(unseen) * process.scale + process.mean)
    np.testing.assert_allclose(process.predict(unseen), expected, rtol=1e-4)
    shifted = reference.kernel_.theta + 0.5 * np.eye(len(reference.kernel_.theta))[0]  # the variance has no prior
    best = reference.log_marginal_likelihood(reference.kernel_.theta)
    assert best > reference.log_marginal_likelihood(shifted)


def test_positive_targets_stay_positive_far_from_all_that_is_known(fitted):
    features, labels, process = fitted
    far = process.predict(features + 1e3)
    assert (far > 0).all()
    np.testing.assert_allclose(far, np.exp(np.log(labels).mean()), rtol=1e-3)


def test_it_survives_its_file(fitted, tmp_path):
    features, _, process = fitted
    process.save(tmp_path / "k.npz")
    np.testing.assert_array_equal(
        gaussian_process.load(tmp_path / "k.npz").predict(features), process.predict(features)
    )


def test_its_variance_is_that_of_scikit_learn_and_grows_away_from_what_is_known(fitted, monkeypatch):
    features, labels, process = fitted
    noise, variance = np.exp(process.hyperparameters[:2])
    widths = np.repeat(np.exp(process.hyperparameters[2:]), [3, 4]) * np.sqrt([3, 3, 3, 4, 4, 4, 4])
    kernel = ConstantKernel(variance) * Matern(widths, nu=2.5) + WhiteKernel(noise)
    unseen, _ = crystals(20, seed=2)
    for n_rows in (None, 60):
        reference = GaussianProcessRegressor(kernel, optimizer=None).fit(features[:n_rows], labels[:n_rows])
        _, expected = reference.predict(unseen, return_std=True)
        np.testing.assert_allclose(process.spread(unseen, n_rows), expected * process.scale, rtol=1e-4)
    far = process.spread(unseen + 1e3)
    np.testing.assert_allclose(far, np.sqrt(variance + noise) * process.scale, rtol=1e-4)
    assert (process.spread(unseen) < far).all()
    assert (process.spread(unseen) > np.sqrt(noise) * process.scale).all()
    every = process.spread(unseen)
    monkeypatch.setattr(gaussian_process, "SPREAD_ROWS", 75)  # every other row
    assert (process.spread(unseen) >= every - 1e-9).all()  # who knows less is less sure


def test_the_variance_of_trends_grows_with_the_square_of_the_feature():
    rng = np.random.default_rng(3)
    names = (SCALES[0], "magpie.noise")
    features = rng.normal(size=(60, 2))
    process = fit(features, ["elemental_solids", "magpie"], names, np.exp(features[:, 0] + 0.3 * rng.normal(size=60)))
    near, far, farther = process.spread(np.array([[0.0, 0.0], [50.0, 0.0], [100.0, 0.0]]))
    assert near < far < farther
    noise, signal, *_, trend = np.exp(process.hyperparameters)
    slope_variance = 1 / (1 / trend + (features[:, 0] ** 2).sum() / noise)  # of Bayesian linear regression
    assert farther > process.scale * np.sqrt(1e4 * slope_variance)
    assert farther < process.scale * np.sqrt(1e4 * trend + signal + noise)


def test_distances_are_those_of_each_block():
    left, right = np.zeros((1, 7)), np.array([[3.0, 0, 0, 2, 2, 2, 2]])
    distances = list(each_distance(left, right, np.array([0, 0, 0, 1, 1, 1, -1])))
    np.testing.assert_allclose(np.ravel(distances), [9 / 3, 12 / 3])


def test_it_finds_the_power_law_of_a_scale():
    """K = c·s^0.7 holds far outside of the training range too: what the trend is for."""
    rng = np.random.default_rng(3)
    names = ("elemental_solids.log_cohesive_energy_density", "magpie.noise")
    log_scale = rng.normal(size=80)
    features = np.stack([log_scale, rng.normal(size=80)], axis=1)
    process = fit(features, ["elemental_solids", "magpie"], names, 90 * np.exp(0.7 * log_scale))
    far = np.array([[5.0, 0.0], [-5.0, 0.0]])
    np.testing.assert_allclose(process.predict(far), 90 * np.exp(0.7 * far[:, 0]), rtol=0.05)


def test_the_scales_are_columns_of_the_blocks():
    """A renamed column would leave its trend out without a word."""
    density = gaussian_density()
    crystal = CrystalDescription(replace(density, promolecule=density.values))
    tables = describe(crystal, "x", {name.split(".")[0] for name in SCALES})
    columns = {f"{block}.{column}" for block, table in tables.items() for column in table}
    assert set(SCALES) <= columns


def test_elements_contribute_by_their_share():
    """A sum of contributions of the elements is learned exactly, whatever the other features are."""
    rng = np.random.default_rng(4)
    shares = rng.dirichlet(np.ones(6), size=60)
    contributions = np.array([-3.0, 1.0, 0.5, -1.0, 2.0, 0.0])
    blocks = ["composition"] * 6 + ["magpie"] * 2
    names = tuple(f"{block}.{number}" for number, block in enumerate(blocks))
    features = np.hstack([shares, rng.normal(size=(60, 2))])
    energies = shares @ contributions
    process = fit(features[:40], blocks, names, energies[:40], learns_logarithm=False)
    np.testing.assert_allclose(process.predict(features[40:]), energies[40:], atol=0.01)


def fold_data():
    def part(n_rows, seed):
        features, bulk = crystals(n_rows, seed)
        labels = pd.DataFrame({BULK: bulk, ATOMIZATION: -np.log(bulk)})
        labels.iloc[0, 0] = np.nan
        return DesignMatrix(features, BLOCKS, None, column_names=NAMES), labels

    return estimator.FoldData(*part(90, 3), *part(30, 4))


@pytest.mark.parametrize("model", ["gaussian_process", "blend"])
def test_models_are_written_and_read_back(model, tmp_path):
    data, advanced = fold_data(), []
    estimator.fit(model, data, Fitting(SETTINGS[model], lambda *names: 5, 1, advanced.append), tmp_path)
    assert sum(advanced) == 2
    unseen, truth = crystals(60, seed=5)
    found = estimator.load(tmp_path, model, data.targets)(DesignMatrix(unseen, BLOCKS, None))
    spreads = estimator.load(tmp_path, model, data.targets, with_spread=True)(DesignMatrix(unseen, BLOCKS, None))
    assert set(found) == set(data.targets)
    assert set(spreads) == {*data.targets, *map(spread_of, data.targets)}
    errors = np.abs(np.log(found[BULK] / truth)) / spreads[spread_of(BULK)]
    assert 0.3 < np.median(errors) < 1.5  # of a normal distribution: 0.67
    assert (found[BULK] > 0).all()
    assert np.abs(found[BULK] - truth).mean() < 0.5 * np.abs(truth - truth.mean()).mean()
    assert np.corrcoef(found[ATOMIZATION], -np.log(truth))[0, 1] > 0.8


def test_the_blend_lies_between_its_members(tmp_path):
    data = fold_data()
    estimator.fit("blend", data, Fitting(SETTINGS["blend"], lambda *names: 5, 1), tmp_path)
    matrix = DesignMatrix(crystals(20, seed=6)[0], BLOCKS, None)
    blend, process, trees = (
        estimator.load(tmp_path, name, data.targets)(matrix) for name in ("blend", "gaussian_process", "lightgbm")
    )
    np.testing.assert_allclose(blend[BULK] ** 10, process[BULK] ** 9 * trees[BULK], rtol=1e-9)
    np.testing.assert_allclose(10 * blend[ATOMIZATION], 9 * process[ATOMIZATION] + trees[ATOMIZATION], rtol=1e-9)


def test_three_dimensional_latents_are_refused():
    with pytest.raises(InputError, match="Use latent_pca"):
        registry.check("blend", "mine", ("magpie", "latent"))


def test_shares_of_blocks_are_shapley_values():
    """For a sum of functions of one block each: the function at the row minus its mean over the background."""
    rng = np.random.default_rng(0)
    train, test = (DesignMatrix(rng.standard_normal((n, 7)), BLOCKS, None) for n in (25, 10))

    def predictor(matrix):
        return {BULK: matrix.tabular[:, 0] ** 2 + 3 * matrix.tabular[:, 5]}

    found = importance._block_contributions(predictor, train, test, seed=1)
    expected = {
        "magpie": test.tabular[:, 0] ** 2 - (train.tabular[:, 0] ** 2).mean(),
        "fingerprint": 3 * (test.tabular[:, 5] - train.tabular[:, 5].mean()),
    }
    for block, values in expected.items():
        np.testing.assert_allclose(found[BULK, block][0], np.abs(values), atol=1e-12)


def test_a_fit_repeats_to_the_last_bit():
    torch.manual_seed(0)
    features, labels = crystals(60)
    first = fit(features, BLOCKS, NAMES, labels)
    torch.manual_seed(1)
    again = fit(features, BLOCKS, NAMES, labels)
    assert json.dumps(first.weights.tolist()) == json.dumps(again.weights.tolist())
