"""The density-only network: all targets at once or one each, on the same rows."""

import numpy as np
import pandas as pd
import pytest
import torch
from standins.networks import cnn_section
from standins.refusals import refused

from rho2prop.features.design_matrix import DesignMatrix
from rho2prop.models import estimator, registry
from rho2prop.models.attention_cnn import AttentionCnnConfig
from rho2prop.models.multiscale_cnn import MultiscaleCnn, VoxelPooling

pytestmark = pytest.mark.slow

TARGETS = ["bulk_modulus_gpa", "atomization_energy_ev_per_atom"]
SETTINGS = cnn_section(n_trials=1, max_epochs=30, patience=30, batch_size=16, channels=[8])


def config(**changes):
    shape = dict(latent_channels=3, latent_size=8, n_tabular=0, n_outputs=4, channels=(4, 8))
    return AttentionCnnConfig(**shape | dict(head_depth=2, head_width=16, dropout=0.1) | changes)


@pytest.mark.parametrize(("size", "n_scales"), [(2, 1), (4, 2), (8, 3), (16, 3)])
def test_each_scale_is_read(size, n_scales):
    network = MultiscaleCnn(config(latent_size=size))
    assert len(network.scales) == n_scales
    output = network(torch.randn(2, 3, size, size, size), None)
    assert output.shape == (2, 4)
    output.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_pooling_is_a_mean_that_ignores_where_a_voxel_lies():
    torch.manual_seed(0)
    pooling, x = VoxelPooling(5), torch.randn(2, 5, 4, 4, 4)
    order = torch.randperm(64)
    shuffled = x.flatten(2)[:, :, order].reshape(x.shape)
    torch.testing.assert_close(pooling(x), pooling(shuffled))
    torch.testing.assert_close(pooling(torch.ones_like(x)), torch.ones(2, 5))


def test_it_reads_densities_only():
    with pytest.raises(ValueError, check=lambda error: type(error) is ValueError):
        MultiscaleCnn(config(n_tabular=3))
    with refused("magpie"):
        registry.check("multiscale_cnn", "mine", ("magpie", "latent"))


def make_data(n_rows, seed):
    """Both targets follow from the mean of one channel; one label in three is missing."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n_rows, 2, 4, 4, 4)).astype(np.float32)
    strength = rng.uniform(-1, 1, n_rows)
    latent[:, 0] += 2 * strength[:, None, None, None]
    labels = pd.DataFrame({TARGETS[0]: np.exp(4 + strength), TARGETS[1]: -3 + strength})
    return DesignMatrix(np.empty((n_rows, 0)), [], latent), labels


@pytest.mark.parametrize("model", ["multiscale_cnn", "multiscale_cnn_single"])
def test_learns_all_targets_with_missing_labels(model, tmp_path):
    (train, labels), (validation, held_out), (test, truth) = (make_data(n, n) for n in (90, 30, 40))
    labels.loc[::3, TARGETS[1]] = np.nan
    advanced = []
    data = estimator.FoldData(train, labels, validation, held_out)
    settings = registry.MODELS[model].settings_of(SETTINGS)
    estimator.fit(model, data, estimator.Fitting(settings, lambda *names: 5, 1, advanced.append), tmp_path)
    assert sum(advanced) == len(TARGETS)
    predicted = estimator.load(tmp_path, model, TARGETS)(test)
    for target in TARGETS:
        assert 1 - np.var(predicted[target] - truth[target]) / np.var(truth[target]) > 0.8
    assert (predicted[TARGETS[0]] > 0).all()
    folders = [tmp_path / target for target in TARGETS] if model.endswith("single") else [tmp_path]
    assert sorted(path.parent for path in tmp_path.rglob("model.safetensors")) == sorted(folders)
