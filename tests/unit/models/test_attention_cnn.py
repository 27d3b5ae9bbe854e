from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import torch
from standins.networks import cnn_section
from standins.refusals import refused

from rho2prop.core.settings import read_section
from rho2prop.features.design_matrix import DesignMatrix
from rho2prop.models.attention_cnn import (
    AttentionCnn,
    AttentionCnnConfig,
    AttentionCnnModel,
    ChannelAttention,
    SpatialAttention,
)
from rho2prop.models.estimator import FoldData
from rho2prop.models.network_training import fit, load_network, masked_mse
from rho2prop.models.settings import CnnSettings

pytestmark = pytest.mark.slow


def settings_with(**changes):
    small = dict(n_trials=2, max_epochs=80, patience=80, batch_size=16, channels=[4, 8])
    return read_section(CnnSettings, cnn_section(**small | changes), "attention_cnn")


SETTINGS = settings_with()
NAMES = ["bulk_modulus_gpa", "atomization_energy_ev_per_atom"]


def make_data(n_rows=90, seed=0):
    """Target 0 from the latent, target 1 from the tabular part."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n_rows, 2, 4, 4, 4)).astype(np.float32)
    strength = rng.uniform(-2, 2, n_rows)
    latent[:, 0] += strength[:, None, None, None]
    tabular = rng.normal(size=(n_rows, 3))
    labels = np.stack([100 + 30 * strength, -5 + tabular[:, 0] - tabular[:, 1]], axis=1)
    return DesignMatrix(tabular, ["magpie"] * 3, latent), labels


def fold_data(train, labels, validation, validation_labels):
    tables = [pd.DataFrame(values, columns=NAMES) for values in (labels, validation_labels)]
    return FoldData(train, tables[0], validation, tables[1])


def config(**changes):
    shape = dict(latent_channels=3, latent_size=8, n_tabular=5, n_outputs=4, channels=(4, 6))
    return AttentionCnnConfig(**shape | dict(head_depth=3, head_width=16, dropout=0.1) | changes)


@pytest.mark.parametrize(("channels", "n_tabular"), [(3, 5), (3, 0), (0, 5)])
def test_each_combination_of_branches_predicts_all_targets(channels, n_tabular):
    network = AttentionCnn(config(latent_channels=channels, n_tabular=n_tabular))
    output = network(torch.randn(2, 3, 8, 8, 8) if channels else None, torch.randn(2, 5) if n_tabular else None)
    assert output.shape == (2, 4)
    output.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_the_network_of_the_papers_notebooks_has_their_number_of_weights():
    shape = dict(latent_channels=16, latent_size=16, n_tabular=132, n_outputs=1, head_depth=2, head_width=256)
    shape |= dict(stem=64, channels=(64, 128, 256), blocks_per_stage=2, tabular_widths=(256, 128), tabular_dropout=0.3)
    with torch.device("meta"):
        network = AttentionCnn(config(**shape))
    assert sum(weight.numel() for weight in network.parameters()) == pytest.approx(8.5e6, rel=0.02)
    assert sum(isinstance(layer, ChannelAttention) for layer in network.modules()) == 3  # of each stage's first block
    drops = [layer.p for layer in network.modules() if isinstance(layer, torch.nn.Dropout)]
    assert drops == [0.3, 0.3, 0.1]


@pytest.mark.parametrize("latent_size", [4, 5, 8])
def test_a_stem_halves_the_latent_and_all_weights_are_learned(latent_size):
    shape = dict(latent_size=latent_size, stem=5, blocks_per_stage=2, tabular_widths=(7, 6))
    network = AttentionCnn(config(**shape))
    latent = torch.randn(3, 3, *[latent_size] * 3)
    assert network.volume_branch[0](latent).shape == (3, 5, *[-(-latent_size // 2)] * 3)
    network(latent, torch.randn(3, 5)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_a_record_from_before_these_settings_builds_the_network_of_the_defaults():
    of_now = asdict(config()) | {"channels": [4, 6]}
    earlier = {name: of_now[name] for name in of_now if name not in ("stem", "tabular_dropout", "tabular_widths")}
    earlier.pop("blocks_per_stage")
    networks = [AttentionCnnModel.build(shape).state_dict() for shape in (earlier, of_now)]
    shapes = [{name: weight.shape for name, weight in weights.items()} for weights in networks]
    assert shapes[0] == shapes[1]
    assert "tabular_branch.0.weight" in shapes[0]


def test_many_materials_get_fewer_epochs_and_few_all_of_them():
    default = settings_with(max_epochs=120)
    assert [default.epochs(n) for n in (20, 500, 501, 3600, 10**6)] == [120, 120, 120, 17, 1]
    (train, labels), (validation, validation_labels) = make_data(60), make_data(20, seed=1)
    data = fold_data(train, labels, validation, validation_labels)
    settings = settings_with(n_trials=1, channels=[4], max_samples=130, max_epochs=9)
    assert len(fit(AttentionCnnModel, data, settings, seed=1, threads=1).record["trials"][0]["history"]) == 3


def test_trials_are_drawn_from_the_ranges_of_the_settings():
    (train, labels), (validation, validation_labels) = make_data(40), make_data(20, seed=1)
    data = fold_data(train, labels, validation, validation_labels)
    fixed = dict(head_widths=[24], dropout=[0.3, 0.3], learning_rate=[2e-3, 5e-3], tabular_dropout=0.2)
    settings = settings_with(n_trials=3, channels=[4], max_epochs=1, stem=4, tabular_widths=[6, 5], **fixed)
    trained = fit(AttentionCnnModel, data, settings, seed=1, threads=1)
    rates = [trial["learning_rate"] for trial in trained.record["trials"]]
    assert 2e-3 <= min(rates) < max(rates) <= 5e-3
    for member in trained.network.configs():
        assert (member.head_width, member.dropout, member.tabular_dropout) == (24, pytest.approx(0.3), 0.2)
        assert (member.stem, member.tabular_widths, member.blocks_per_stage) == (4, (6, 5), 1)


def test_a_network_without_inputs_is_refused():
    with pytest.raises(ValueError, check=lambda error: type(error) is ValueError):
        AttentionCnn(config(latent_channels=0, n_tabular=0))


def test_a_descriptor_far_outside_the_training_range_stays_bounded():
    network = AttentionCnn(config(latent_channels=0)).eval()
    far = torch.zeros(2, 5)
    far[:, 2] = torch.tensor([5.0, 2e5])
    with torch.no_grad():
        near_output, far_output = network(None, far)
    torch.testing.assert_close(near_output, far_output)


def test_attention_only_weights_between_zero_and_one():
    torch.manual_seed(0)
    x = torch.randn(2, 16, 4, 4, 4)
    channel = ChannelAttention(16)(x) / x
    assert ((channel > 0) & (channel < 1)).all()
    torch.testing.assert_close(channel.amax(dim=(2, 3, 4)), channel.amin(dim=(2, 3, 4)))  # one weight per channel
    spatial = SpatialAttention()(x) / x
    assert ((spatial > 0) & (spatial < 1)).all()
    torch.testing.assert_close(spatial.amax(dim=1), spatial.amin(dim=1))  # one weight per voxel


def test_missing_labels_have_no_effect_on_loss_and_gradient():
    prediction = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    known = torch.tensor([[True, False], [True, True]])
    results = []
    for filler in (float("nan"), 0.0, 1e30):
        loss = masked_mse(prediction, torch.tensor([[0.0, filler], [3.0, 2.0]]), known)
        (gradient,) = torch.autograd.grad(loss, prediction)
        results.append((loss.item(), gradient))
        assert gradient[0, 1] == 0
    assert results[0][0] == pytest.approx((1 + 0 + 4) / 3)
    assert all(loss == results[0][0] and torch.equal(gradient, results[0][1]) for loss, gradient in results)


def test_learns_both_branches_with_missing_labels_and_round_trips(tmp_path):
    train, labels = make_data(seed=0)
    labels[::3, 1] = np.nan
    validation, validation_labels = make_data(40, seed=1)
    data = fold_data(train, labels, validation, validation_labels)
    trained = fit(AttentionCnnModel, data, SETTINGS, seed=4, threads=1)
    test, truth = make_data(60, seed=2)
    predicted = trained.predict(test)
    for i, name in enumerate(NAMES):
        assert 1 - np.var(predicted[name] - truth[:, i]) / np.var(truth[:, i]) > 0.9
    trained.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors"]
    again = load_network(AttentionCnnModel, tmp_path)
    assert again.record["trials"] == trained.record["trials"]
    for name, values in again.predict(test).items():
        np.testing.assert_array_equal(values, predicted[name])


def test_the_seed_decides_the_predictions_and_the_callers_random_state_is_kept():
    (train, labels), (validation, validation_labels) = make_data(), make_data(20, seed=1)
    settings = settings_with(max_epochs=2, channels=[4])
    torch.manual_seed(11)
    state = torch.random.get_rng_state()
    runs = []
    for seed in (4, 4, 5):
        data = fold_data(train, labels, validation, validation_labels)
        trained = fit(AttentionCnnModel, data, settings, seed=seed, threads=1)
        runs.append(trained.predict(validation)[NAMES[0]])
    assert torch.equal(state, torch.random.get_rng_state())
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_too_few_rows_are_refused():
    train, labels = make_data(20)
    data = fold_data(train, labels, train.rows(np.arange(1)), labels[:1])
    with refused(20, 1):
        fit(AttentionCnnModel, data, SETTINGS, seed=0, threads=1)
