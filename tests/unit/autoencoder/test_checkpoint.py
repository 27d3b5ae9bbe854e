"""A checkpoint is taken up by the training that it belongs to, and by no other."""

import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from standins.refusals import lacking, refused
from standins.training import train_on

import rho2prop.autoencoder.training as training
from rho2prop.autoencoder import checkpoint
from rho2prop.autoencoder.request import TrainingSettings
from rho2prop.densities.density import read_npz, write_npz
from rho2prop.densities.grids import Grid

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
GRID = Grid("window", 16, 0.35)
SETTINGS = TrainingSettings(
    network="fast", latent_size=4, dropout=0.1, orientations_per_epoch=1, batch_size=2,
    learning_rate=1e-3, max_epochs=3, patience=10, precision="fp32", grid_precision="fp32",
    devices=1, nodes=1, threads=1,
)  # fmt: skip
SPLIT = {"m0": "train", "m1": "train", "m2": "train", "m3": "validation", "m4": "test"}


@pytest.fixture
def paths(density, tmp_path):
    """Five densities, the same crystal more and more squeezed."""
    files = []
    for i, scale in enumerate(np.linspace(0.9, 1.1, 5)):
        path = tmp_path / "densities" / f"m{i}.npz"
        write_npz(replace(density, values=density.values / scale**3, lattice=density.lattice * scale), path)
        files.append((f"m{i}", path))
    return files


def train(paths, folder, name, settings=SETTINGS, **options):
    """Weights of a finished training with its checkpoint in ``work``."""
    train_on(paths, SPLIT, settings, GRID, folder / name, seed=7, **options)
    return training.load_autoencoder(folder / name)[0].state_dict()


class Killed(Exception):
    """Stands for a signal after an epoch."""


@pytest.fixture
def interrupted(paths, tmp_path, monkeypatch):
    """The densities of a training that ended after two of its three epochs."""
    save = training.save_checkpoint

    def save_then_die(*arguments):
        save(*arguments)
        if len(arguments[-1]["history"]) == 2:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(training, "save_checkpoint", save_then_die)
        with pytest.raises(Killed):
            train(paths, tmp_path, "cut")
    assert not (tmp_path / "cut").exists()
    return paths


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_a_resumed_training_equals_the_straight_one(interrupted, tmp_path, capsys):
    resumed = train(interrupted, tmp_path, "resumed")
    assert not lacking(capsys.readouterr().err, "epoch 2")
    straight = train(interrupted, tmp_path, "straight")
    assert same(resumed, straight)
    histories = [
        pd.read_csv(tmp_path / name / "history.csv").drop(columns="seconds") for name in ("resumed", "straight")
    ]
    pd.testing.assert_frame_equal(*histories)
    assert list(histories[0]["epoch"]) == [1, 2, 3]


def test_recomputed_densities_are_learned_from_the_start(interrupted, tmp_path):
    for _, path in interrupted:
        stored = read_npz(path)
        flat = np.full_like(stored.values, stored.values.mean())
        write_npz(replace(stored, values=0.9 * stored.values + 0.1 * flat), path)
    resumed = train(interrupted, tmp_path, "resumed")
    assert same(resumed, train(interrupted, tmp_path, "straight"))
    assert len(pd.read_csv(tmp_path / "resumed/history.csv")) == 3


def test_a_checkpoint_of_other_settings_is_not_used(interrupted, tmp_path, capsys):
    settings = replace(SETTINGS, learning_rate=2e-3)
    resumed = train(interrupted, tmp_path, "resumed", settings)
    assert not lacking(capsys.readouterr().err, "checkpoint.safetensors")
    assert same(resumed, train(interrupted, tmp_path, "straight", settings))


def test_what_the_digest_of_a_training_knows(monkeypatch):
    grids = [("a", "0a"), ("b", "0b")]

    def digest():
        return checkpoint.training_digest(grids, asdict(SETTINGS), "fp32", 2)

    before = digest()
    assert digest() == before
    assert checkpoint.training_digest(grids[::-1], asdict(SETTINGS), "fp32", 2) != before
    assert checkpoint.training_digest(grids, asdict(SETTINGS), "bf16", 2) != before
    assert checkpoint.training_digest([("a", "0a"), ("b", "1b")], asdict(SETTINGS), "fp32", 2) != before

    with monkeypatch.context() as patch:  # what the code's digest knows: tests/unit/core
        patch.setattr(checkpoint, "code_digest", lambda path: f"other code of {path.name}")
        assert digest() != before
    monkeypatch.setattr(torch, "__version__", "0.0")
    assert digest() != before


def test_no_checkpoint_stays_beside_a_finished_result(interrupted, tmp_path):
    assert (tmp_path / "work" / training.CHECKPOINT).is_file()
    train(interrupted, tmp_path, "out")
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_cut_checkpoint_costs_its_epochs_and_nothing_else(interrupted, tmp_path, share):
    checkpoint = tmp_path / "work" / training.CHECKPOINT
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[: int(share * len(content))])
    assert same(train(interrupted, tmp_path, "resumed"), train(interrupted, tmp_path, "straight"))


def test_two_trainings_never_share_a_folder(paths, tmp_path):
    hold = (
        "import sys\nfrom rho2prop.autoencoder.checkpoint import only_job\n"
        f"with only_job({str(tmp_path / 'work')!r}):\n print('held', flush=True)\n sys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", hold], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout.readline() == "held\n"
        with refused(other.pid):
            train(paths, tmp_path, "out")
        assert not (tmp_path / "out").exists()
    finally:
        other.kill()
        other.communicate()
    assert train(paths, tmp_path, "out")


def test_what_a_kill_of_another_machine_left_of_a_checkpoint_is_removed(paths, tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / f".partial-elsewhere-1-{training.CHECKPOINT}").write_bytes(b"cut")
    train(paths, tmp_path, "out")
    assert not (tmp_path / "work").exists()
