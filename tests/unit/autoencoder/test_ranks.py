"""Training in several processes, without a cluster."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from standins.densities import gaussian_density
from standins.refusals import refused
from standins.training import request_on

from rho2prop.autoencoder.launch import launcher, train_ranks
from rho2prop.autoencoder.request import TrainingRequest, TrainingSettings
from rho2prop.autoencoder.training import load_autoencoder, train
from rho2prop.densities.density import write_npz
from rho2prop.densities.grids import Grid, to_grid

pytestmark = pytest.mark.slow

SETTINGS = TrainingSettings(
    network="fast", latent_size=4, dropout=0.0, orientations_per_epoch=1, batch_size=2,
    learning_rate=1e-3, max_epochs=2, patience=2, precision="fp32",
    grid_precision="fp32", devices=2, nodes=1, threads=1,
)  # fmt: skip


@pytest.fixture
def outside_slurm(monkeypatch):
    """The environment of a machine without a Slurm job."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


def test_two_ranks_of_one_machine_write_one_result(outside_slurm, density, tmp_path):
    write_npz(density, tmp_path / "density.npz")
    names = [f"m-{i}" for i in range(5)]
    paths = [(name, tmp_path / "density.npz") for name in names]
    split = dict(zip(names, ["train"] * 3 + ["validation", "test"], strict=True))
    request = request_on(paths, split, SETTINGS, Grid("window", 16, 0.4), tmp_path / "model", seed=1)
    assert TrainingRequest.from_json(request.to_json()) == request
    (tmp_path / "work").mkdir()
    train_ranks(launcher(SETTINGS, n_gpus=2), request)
    record = json.loads((tmp_path / "model/model.json").read_text())
    assert (record["ranks"], record["epochs"]) == (2, 2)

    broken = replace(request, grids=tmp_path / "none", out_dir=tmp_path / "x")
    with refused(1, source="train_autoencoder"):
        train_ranks(launcher(SETTINGS, n_gpus=2), broken)
    assert not (tmp_path / "x").exists()


def test_two_ranks_train_as_one_with_their_batches_together(outside_slurm, tmp_path):
    """Equal grids, which no orientation changes, give both the same batch statistics: what is left must agree."""
    cubic = gaussian_density(np.eye(3) * 4.8, (24, 24, 24), ((0.0, 0.0, 0.0), (0.5, 0.5, 0.5)))
    write_npz(cubic, tmp_path / "density.npz")
    names = [f"m-{i}" for i in range(6)]
    paths = [(name, tmp_path / "density.npz") for name in names]
    split = dict(zip(names, ["train"] * 4 + ["validation", "test"], strict=True))
    together, made, losses = replace(SETTINGS, max_epochs=6, patience=6), {}, {}
    for ranks in (1, 2):
        (tmp_path / f"{ranks}").mkdir()
        settings = replace(together, devices=ranks, batch_size=4 // ranks)
        out = tmp_path / f"{ranks}" / "model"
        request = request_on(paths, split, settings, Grid("window", 16, 0.3), out, seed=1)
        if ranks == 1:
            train(request)
        else:
            (out.with_name("work")).mkdir()
            train_ranks(launcher(settings, n_gpus=ranks), request)
        model, record = load_autoencoder(out)
        assert record["ranks"] == ranks
        grid = torch.from_numpy(to_grid(cubic, Grid(**record["grid"])))[None, None]
        with torch.no_grad():
            made[ranks] = model(grid).numpy()
        losses[ranks] = pd.read_csv(out / "history.csv")["train_loss"].to_numpy()
    assert losses[1][-1] < 0.9 * losses[1][0]  # it learns
    np.testing.assert_allclose(losses[2], losses[1], rtol=1e-3)
    np.testing.assert_allclose(made[2], made[1], atol=0.01 * made[1].max())


def test_a_slurm_job_starts_its_ranks_with_srun(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    command = launcher(replace(SETTINGS, devices=4, nodes=2, threads=8), n_gpus=0)
    assert {"--ntasks=8", "--nodes=2", "--ntasks-per-node=4", "--cpus-per-task=8"} <= set(command)
    assert launcher(replace(SETTINGS, devices=1, nodes=1, threads=8), n_gpus=1) is None


def test_a_machine_without_gpu_trains_in_one_process(outside_slurm):
    assert launcher(replace(SETTINGS, devices=2, nodes=1, threads=8), n_gpus=0) is None


def test_several_nodes_need_slurm(outside_slurm):
    with refused("profiles/slurm", source="autoencoder.nodes"):
        launcher(replace(SETTINGS, devices=2, nodes=2, threads=8), n_gpus=2)
