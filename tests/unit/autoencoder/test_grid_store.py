"""Grids on disk: those that were asked for, whole, and trained on as if they lay in memory."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from standins.refusals import refused
from standins.training import train_on
from torch import nn

from rho2prop.autoencoder import grid_writing, training
from rho2prop.autoencoder.grid_store import GRIDS, ROWS, STORE, GridStore, StoreContent, StoredGrids, prefetched
from rho2prop.autoencoder.grid_writing import UNFINISHED, write_store
from rho2prop.autoencoder.network import AutoencoderConfig, build_autoencoder
from rho2prop.autoencoder.request import TrainingSettings
from rho2prop.densities.density import read_npz, write_npz
from rho2prop.densities.grids import Grid, rotate, to_grid

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}
WINDOW, PADDED = Grid("window", 16, 0.35), Grid("padded", 32, 0.35)
CONTENT = StoreContent("total", WINDOW, "fp32")
SETTINGS = TrainingSettings(
    network="fast", latent_size=4, dropout=0.1, orientations_per_epoch=2, batch_size=2,
    learning_rate=1e-3, max_epochs=3, patience=10, precision="fp32",
    grid_precision="fp32", devices=1, nodes=1, threads=1,
)  # fmt: skip
SPLIT = {"m0": "train", "m1": "validation", "m2": "train", "m3": "train", "m4": "test", "m5": "validation"}
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@pytest.fixture
def paths(density, tmp_path):
    """Six densities, the same crystal more and more squeezed."""
    files = []
    for i, scale in enumerate(np.linspace(0.9, 1.1, 6)):
        path = tmp_path / "densities" / f"m{i}.npz"
        write_npz(replace(density, values=density.values / scale**3, lattice=density.lattice * scale), path)
        files.append((f"m{i}", path))
    return files


@pytest.fixture
def store(paths, tmp_path):
    """Folder of a store of the six."""
    write_store(tmp_path / "store", paths, CONTENT, tmp_path / "unfinished")
    return tmp_path / "store"


def in_memory(paths, grid, precision):
    """Grids as earlier versions held them, shape (B, 1, D, H, W)."""
    grids = torch.empty((len(paths), 1, *(grid.size,) * 3), dtype=TYPES[precision])
    for row, (_, path) in enumerate(paths):
        grids[row, 0] = torch.from_numpy(to_grid(read_npz(path), grid))
    return grids


def trained_in_memory(paths, settings, grid, seed):
    """Best weights and losses of a training on grids in memory, without anything but its arithmetic."""
    torch.set_num_threads(settings.threads)
    grids = {
        part: in_memory([pair for pair in paths if SPLIT[pair[0]] == part], grid, settings.grid_precision)
        for part in ("train", "validation")
    }
    torch.manual_seed(seed)
    model = build_autoencoder(AutoencoderConfig(settings.network, grid.size, settings.latent_size, settings.dropout))
    model.to(memory_format=torch.channels_last_3d)
    optimizer, losses = torch.optim.Adam(model.parameters(), lr=settings.learning_rate), []
    for epoch in range(settings.max_epochs):
        optimizer.param_groups[0]["lr"] = training._learning_rate(settings, epoch)
        torch.manual_seed(training._epoch_seed(seed, epoch))
        totals = {"train": 0.0, "validation": 0.0}
        batches = training._plan(len(grids["train"]), settings, 1, 0, (seed, epoch))
        model.train()
        for pairs in batches:
            stack = [rotate(grids["train"][row], orientation) for row, orientation in pairs]
            batch = torch.stack(stack).to(torch.float32, memory_format=torch.channels_last_3d)
            loss = nn.functional.mse_loss(model(batch), batch)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            totals["train"] += loss.item() * len(pairs)
        model.eval()
        with torch.no_grad():
            for batch in grids["validation"].to(torch.float32).split(settings.batch_size):
                batch = batch.contiguous(memory_format=torch.channels_last_3d)
                totals["validation"] += nn.functional.mse_loss(model(batch), batch).item() * len(batch)
        losses.append((totals["train"] / sum(map(len, batches)), totals["validation"] / len(grids["validation"])))
        if losses[-1][1] == min(validation for _, validation in losses):
            best = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    return best, losses


@pytest.mark.parametrize(
    ("grid", "network", "precision"),
    [(WINDOW, "fast", "fp32"), (PADDED, "paper", "bf16"), (PADDED, "fast", "fp16"), (WINDOW, "paper", "fp32")],
)
def test_a_training_from_disk_is_bit_by_bit_the_one_from_memory(paths, tmp_path, grid, network, precision):
    settings = replace(SETTINGS, network=network, grid_precision=precision)
    weights, losses = trained_in_memory(paths, settings, grid, 7)
    train_on(paths, SPLIT, settings, grid, tmp_path / "out", seed=7)
    history = pd.read_csv(tmp_path / "out/history.csv", float_precision="round_trip")
    assert list(zip(history["train_loss"], history["validation_loss"], strict=True)) == losses
    model, record = training.load_autoencoder(tmp_path / "out")
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert record["grid_precision"] == precision


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("grid", [WINDOW, PADDED])
def test_what_is_read_is_what_was_sampled(paths, tmp_path, grid, precision):
    write_store(tmp_path / "store", paths, StoreContent("total", grid, precision), tmp_path / "unfinished", threads=2)
    with GridStore(tmp_path / "store") as grids:
        assert grids.material_ids == [name for name, _ in paths]
        assert torch.equal(grids.read([4, 0, 4]), in_memory(paths, grid, precision)[[4, 0, 4]])
        assert torch.equal(StoredGrids(grids, [2, 5]).read([1]), grids.read([5]))
    assert not (tmp_path / "unfinished").exists()


def test_a_density_beyond_the_precision_is_refused(density, tmp_path):
    factor = 1e5 / density.values.max()
    dense = replace(density, values=density.values * factor, n_electrons=density.n_electrons * factor)
    write_npz(dense, tmp_path / "a.npz")
    paths, content = [("a", tmp_path / "a.npz")], StoreContent("total", PADDED, "fp16")
    with refused("fp16", source="a.npz", code="range"):
        write_store(tmp_path / "store", paths, content, tmp_path / "unfinished")
    write_store(tmp_path / "store", paths, replace(content, precision="bf16"), tmp_path / "unfinished")


@pytest.mark.parametrize("file", [GRIDS, ROWS, STORE])
def test_a_store_with_a_missing_file_is_refused(store, file):
    (store / file).unlink()
    with refused(file, source="store", code="missing"):
        GridStore(store)


def test_a_store_that_is_cut_is_refused(store):
    content = (store / GRIDS).read_bytes()
    (store / GRIDS).write_bytes(content[:-1])
    with refused(f"{len(content):,}", f"{len(content) - 1:,}", code="truncated"):
        GridStore(store)
    (store / GRIDS).write_bytes(content)
    (store / ROWS).write_text("".join((store / ROWS).read_text().splitlines(keepends=True)[:-1]))
    with refused(5, 6, code="truncated"):
        GridStore(store)


def test_a_store_that_is_cut_while_it_is_read_is_refused(store):
    with GridStore(store) as grids:
        grids.read([5])
        (store / GRIDS).write_bytes((store / GRIDS).read_bytes()[:-1])
        with refused(5, code="truncated"):
            grids.read([4, 5])


def test_a_damaged_grid_is_refused_when_it_is_read(store):
    with (store / GRIDS).open("r+b") as file:
        file.seek(3 * CONTENT.row_bytes + 100)
        file.write(b"?")
    with GridStore(store) as grids:
        grids.read([0, 1, 2, 4, 5])
        with refused("m3", source="store", code="damaged"):
            grids.read([3])


@pytest.mark.parametrize("record", ["{", '{"format": 0}', "[]"])
def test_a_record_that_is_none_is_refused(store, record):
    (store / STORE).write_text(record)
    with refused(source="store", code="damaged"):
        GridStore(store)


@pytest.mark.parametrize(
    "other", [{"field": "atom_positions"}, {"grid": replace(WINDOW, voxel_ang=0.4)}, {"precision": "bf16"}]
)
def test_a_store_of_other_settings_is_refused(store, other):
    with GridStore(store) as grids:
        grids.require(CONTENT)
        with refused(code="mismatch"):
            grids.require(replace(CONTENT, **other))


class Killed(Exception):
    """Stands for a signal after some grids."""


@pytest.fixture
def killed(paths, tmp_path, monkeypatch):
    """Folder of a store of which three grids and half of the fourth were written."""
    make, work = grid_writing._stored_grid, tmp_path / "unfinished"

    def make_three(path, content):
        if path.stem == "m3":
            raise Killed
        return make(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(grid_writing, "_stored_grid", make_three)
        with pytest.raises(Killed):
            write_store(tmp_path / "store", paths, CONTENT, work)
    with (work / UNFINISHED / GRIDS).open("ab") as file:
        file.write(bytes(CONTENT.row_bytes // 2))
    with (work / UNFINISHED / ROWS).open("a") as file:
        file.write("m3,")
    assert not (tmp_path / "store").exists()
    return work


def continued(paths, tmp_path, monkeypatch, content=CONTENT):
    """Finish a store; names of the materials whose grids were made."""
    make, made = grid_writing._stored_grid, []
    monkeypatch.setattr(
        grid_writing, "_stored_grid", lambda path, content: made.append(path.stem) or make(path, content)
    )
    write_store(tmp_path / "store", paths, content, tmp_path / "unfinished")
    with GridStore(tmp_path / "store") as grids:
        assert grids.material_ids == [name for name, _ in paths]
        expected = in_memory(paths, content.grid, content.precision)
        assert torch.equal(grids.read(range(len(paths))), expected)
    return made


def test_a_half_written_store_is_continued(killed, paths, tmp_path, monkeypatch):
    assert continued(paths, tmp_path, monkeypatch) == ["m3", "m4", "m5"]
    assert not killed.exists()


def test_grids_of_recomputed_densities_are_not_kept(killed, paths, tmp_path, monkeypatch):
    stored = read_npz(paths[1][1])
    write_npz(replace(stored, values=0.5 * stored.values + 0.5 * stored.values.mean()), paths[1][1])
    assert continued(paths, tmp_path, monkeypatch) == ["m1", "m2", "m3", "m4", "m5"]


def test_grids_that_a_crash_damaged_are_not_kept(killed, paths, tmp_path, monkeypatch):
    with (killed / UNFINISHED / GRIDS).open("r+b") as file:
        file.seek(2 * CONTENT.row_bytes)
        file.write(b"????")
    assert continued(paths, tmp_path, monkeypatch) == ["m2", "m3", "m4", "m5"]


def test_grids_of_another_list_are_kept_as_far_as_it_is_the_same(killed, paths, tmp_path, monkeypatch):
    paths[2], paths[5] = paths[5], paths[2]
    assert continued(paths, tmp_path, monkeypatch) == ["m5", "m3", "m4", "m2"]


@pytest.mark.parametrize("other", [{"grid": replace(WINDOW, voxel_ang=0.4)}, {"precision": "bf16"}])
def test_grids_of_other_settings_are_not_kept(killed, paths, tmp_path, monkeypatch, other):
    assert len(continued(paths, tmp_path, monkeypatch, replace(CONTENT, **other))) == 6


def test_grids_of_other_code_are_not_kept(killed, paths, tmp_path, monkeypatch):
    monkeypatch.setattr(grid_writing, "code_digest", lambda path: "other")
    assert len(continued(paths, tmp_path, monkeypatch)) == 6


def test_too_little_disk_is_told_before_a_density_is_read(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(grid_writing.shutil, "disk_usage", lambda folder: usage._replace(free=10**9))
    paths = [(f"m{i}", tmp_path / "none.npz") for i in range(6059)]
    content = StoreContent("total", replace(PADDED, size=128), "bf16")
    with refused("25.4 GB", "1.0 GB", source=UNFINISHED, code="disk"):
        write_store(tmp_path / "store", paths, content, tmp_path / "unfinished")


def test_results_come_in_order_and_few_are_made_ahead():
    started = []

    def make(item):
        started.append(item)
        return item**2

    results = prefetched(make, range(100), threads=3, ahead=4)
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    assert len(started) <= 3 + 4
    results.close()
    assert list(prefetched(make, range(50), threads=3)) == [i**2 for i in range(50)]
    with pytest.raises(ZeroDivisionError):
        list(prefetched(lambda item: 1 / item, [1, 0]))


def test_memory_of_a_training_does_not_grow_with_the_number_of_grids():
    """One epoch on 50 and on 1,200 grids (0.16 GB), nearly all of them holes in the file."""
    peak_mb = {}
    for n_grids in (50, 1200):
        script = [sys.executable, "benchmarks/training_memory.py", "fast", f"--grids={n_grids}"]
        sizes = ["--size=32", "--latent=8", "--batch=20", f"--steps={n_grids}", "--threads=1"]
        child = subprocess.run([*script, *sizes], cwd=ROOT, text=True, capture_output=True, env=ENVIRONMENT)
        assert child.returncode == 0, child.stderr
        result = json.loads(child.stdout)
        assert result["store_gb"] == pytest.approx(n_grids * 32**3 * 4 / 1e9)
        peak_mb[n_grids] = result["peak_mb"]
    assert peak_mb[1200] - peak_mb[50] < 40
