"""Latents of many densities: of the autoencoder that they belong to, and finite."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from standins.refusals import refused
from standins.training import train_on

from rho2prop.autoencoder.encoding import encode_files
from rho2prop.autoencoder.request import TrainingSettings
from rho2prop.densities.density import write_npz
from rho2prop.densities.grids import Grid

pytestmark = pytest.mark.slow  # torch

GRID = Grid("window", 16, 0.45)
SETTINGS = TrainingSettings(
    network="fast", latent_size=4, dropout=0.0, orientations_per_epoch=1, batch_size=2,
    learning_rate=1e-3, max_epochs=1, patience=10, precision="fp32", grid_precision="fp32",
    devices=1, nodes=1, threads=1,
)  # fmt: skip


@pytest.fixture
def run(density, tmp_path):
    """Paths of one density under two names, and an autoencoder trained on it in ``autoencoder``."""
    write_npz(density, tmp_path / "a.npz")
    paths = [("a", tmp_path / "a.npz"), ("b", tmp_path / "a.npz")]
    train_on(paths, {"a": "train", "b": "validation"}, SETTINGS, GRID, tmp_path / "autoencoder", seed=0)
    return paths, tmp_path / "autoencoder"


@pytest.mark.parametrize("wanted", [(replace(GRID, voxel_ang=0.4), "total"), (GRID, "deformation")])
def test_an_autoencoder_of_another_grid_or_field_is_refused(run, wanted):
    paths, folder = run
    grid, field = wanted
    with refused("'total'", code="mismatch"):
        encode_files(folder, paths, grid, 1, field)


def test_a_latent_beyond_float16_is_refused_by_the_name_of_its_density(run):
    paths, folder = run
    weights = load_file(folder / "model.safetensors")
    last = [name for name in weights if name.startswith("encoder") and name.endswith("bias")][-1]
    weights[last] = torch.full_like(weights[last], 1e6)
    save_file(weights, folder / "model.safetensors")
    with refused("float16", source="a.npz"):
        encode_files(folder, paths, GRID, 1)


def test_model_json_holds_grid_and_field(run):
    record = json.loads((run[1] / "model.json").read_text())
    assert (Grid(**record["grid"]), record["field"]) == (GRID, "total")
