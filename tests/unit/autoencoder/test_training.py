from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from standins.refusals import refused
from standins.training import request_on, train_on

import rho2prop.autoencoder.training as training
from rho2prop.autoencoder.grid_store import GRIDS
from rho2prop.autoencoder.network import AutoencoderConfig, build_autoencoder
from rho2prop.autoencoder.request import TrainingSettings
from rho2prop.densities.density import write_npz
from rho2prop.densities.grids import Grid

pytestmark = pytest.mark.slow

GRID = Grid("window", 16, 0.35)
SETTINGS = TrainingSettings(
    network="fast", latent_size=4, dropout=0.1, orientations_per_epoch=2, batch_size=2,
    learning_rate=1e-3, max_epochs=4, patience=10, precision="fp32",
    grid_precision="fp32", devices=1, nodes=1, threads=1,
)  # fmt: skip


@pytest.fixture
def paths(density, tmp_path):
    """Six densities, the same crystal more and more squeezed."""
    found = []
    for i, scale in enumerate(np.linspace(0.9, 1.1, 6)):
        path = tmp_path / "densities" / f"m{i}.npz"
        write_npz(replace(density, values=density.values / scale**3, lattice=density.lattice * scale), path)
        found.append((f"m{i}", path))
    return found


SPLIT = {"m0": "train", "m1": "train", "m2": "train", "m3": "validation", "m4": "test", "m5": "train"}


@pytest.mark.parametrize("network", ["paper", "fast"])
@pytest.mark.parametrize(("grid_size", "latent_size"), [(128, 8), (128, 16), (128, 32), (64, 8), (64, 16), (64, 32)])
def test_latents_have_16_channels_of_the_wanted_size(network, grid_size, latent_size):
    with torch.device("meta"):
        model = build_autoencoder(AutoencoderConfig(network, grid_size, latent_size)).eval()
        grid = torch.empty(1, 1, grid_size, grid_size, grid_size)
        latent = model.encoder(grid)
        assert latent.shape == (1, 16, latent_size, latent_size, latent_size)
        assert model.decoder(latent).shape == grid.shape


def test_the_papers_network_has_the_parameters_of_its_public_forerunner():
    model = build_autoencoder(AutoencoderConfig("paper", 128, 16))
    without_norm = sum(p.numel() for name, p in model.named_parameters() if p.ndim == 5 or "bias" in name)
    norm_biases = sum(m.num_features for m in model.modules() if isinstance(m, torch.nn.BatchNorm3d))
    assert without_norm - norm_biases == 111_633


def test_a_latent_size_that_does_not_divide_is_refused():
    with refused(64, source="autoencoder.latent_size"):
        AutoencoderConfig("fast", 64, 24)


@pytest.mark.parametrize("network", ["paper", "fast"])
def test_loss_falls_on_one_batch(network):
    torch.manual_seed(0)
    model = build_autoencoder(AutoencoderConfig(network, 16, 4, dropout=0.0))
    batch = torch.rand(2, 1, 4, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3).repeat_interleave(4, 4)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(60):
        loss = torch.nn.functional.mse_loss(model(batch), batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


def test_training_stops_early_and_keeps_the_best(paths, tmp_path):
    settings = replace(SETTINGS, learning_rate=1.0, max_epochs=40, patience=2)
    train_on(paths, SPLIT, settings, GRID, tmp_path / "out", seed=7)
    history = pd.read_csv(tmp_path / "out" / "history.csv")
    assert len(history) < 40
    assert history["validation_loss"].idxmin() == len(history) - 3
    assert training.load_autoencoder(tmp_path / "out")[1]["best_validation_mse"] == history["validation_loss"].min()


def test_test_densities_are_not_read_in_training(paths, tmp_path):
    request = request_on(paths, SPLIT, replace(SETTINGS, max_epochs=1), GRID, tmp_path / "out", seed=7)
    with (request.grids / GRIDS).open("r+b") as grids:
        grids.seek(4 * 4 * GRID.size**3)
        grids.write(bytes(range(256)))
    training.train(request)
    assert training.read_parts(tmp_path / "out") == SPLIT


def test_an_epoch_shows_each_grid_in_distinct_orientations_once():
    settings = replace(SETTINGS, orientations_per_epoch=12, batch_size=5)
    pairs = np.concatenate(training._plan(7, settings, 1, 0, (1, 2)))
    assert len({tuple(pair) for pair in pairs}) == 7 * 12
    ranks = [np.concatenate(training._plan(7, settings, 2, rank, (1, 2))) for rank in (0, 1)]
    assert {tuple(pair) for rank in ranks for pair in rank} == {tuple(pair) for pair in pairs}


def test_split_80_10_10_is_a_partition_and_does_not_depend_on_the_order():
    ids = [f"m{i}" for i in range(50)]
    split = training.split_80_10_10(ids, seed=1)
    counts = pd.Series(split).value_counts()
    assert counts.to_dict() == {"train": 40, "validation": 5, "test": 5}
    assert training.split_80_10_10(ids[::-1], seed=1) == split
    assert training.split_80_10_10(ids, seed=2) != split


def test_scope_of_a_fold_takes_its_parts(tmp_path):
    rows = [("random", "0", "a", "train"), ("random", "0", "b", "test"), ("random", "1", "a", "test")]
    rows += [("random", "1", "b", "train")]
    path = tmp_path / "splits.csv"
    pd.DataFrame(rows, columns=["split", "fold", "material_id", "part"]).to_csv(path, index=False)
    assert training.scope_split("random-0", ["a", "b"], path, 1) == {"a": "train", "b": "test"}


def test_bf16_step_stays_near_fp32(paths, tmp_path):
    for precision in ("fp32", "bf16"):
        settings = replace(SETTINGS, precision=precision, max_epochs=2, dropout=0.0)
        train_on(paths, SPLIT, settings, GRID, tmp_path / precision, seed=7)
        assert training.load_autoencoder(tmp_path / precision)[1]["precision"] == precision
    losses = [pd.read_csv(tmp_path / name / "history.csv")["train_loss"].iloc[0] for name in ("fp32", "bf16")]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


def test_model_json_tells_what_precision_auto_was(paths, tmp_path):
    settings = replace(SETTINGS, precision="auto", max_epochs=1)
    train_on(paths, SPLIT, settings, GRID, tmp_path / "out", seed=7)
    record = training.load_autoencoder(tmp_path / "out")[1]
    assert record["settings"]["precision"] == "auto"
    assert record["precision"] in ("bf16", "fp32")
    assert len(record["hardware"]) == 1


def test_a_part_without_densities_is_refused(paths, tmp_path):
    split = SPLIT | {"m3": "train"}
    with refused("'validation'"):
        train_on(paths, split, SETTINGS, GRID, tmp_path / "out", seed=7)


def test_a_training_that_diverges_ends_with_the_epoch_and_writes_nothing(paths, tmp_path):
    settings = replace(SETTINGS, learning_rate=1e30)
    with refused("epoch", source="autoencoder.learning_rate"):
        train_on(paths, SPLIT, settings, GRID, tmp_path / "out", seed=7)
    assert not (tmp_path / "out").exists()


def test_activations_that_are_computed_again_change_no_bit():
    """Losses, gradients, running means and the state of the generator after two steps with dropout."""
    results = []
    for recompute in (False, True):
        torch.manual_seed(3)
        model = build_autoencoder(AutoencoderConfig("paper", 16, 4, dropout=0.5))
        model.recompute = recompute
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(2):
            batch = torch.rand(3, 1, 16, 16, 16)
            loss = torch.nn.functional.mse_loss(model(batch), batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        gradients = [parameter.grad for parameter in model.parameters()]
        results.append([loss.detach(), *gradients, *model.state_dict().values(), torch.rand(1)])
    assert all(map(torch.equal, *results))
    assert model.encoder[2].num_batches_tracked == 2
