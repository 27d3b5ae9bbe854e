"""A training starts only if the memory of its job holds a step, whatever the number of grids."""

import math
from dataclasses import replace

import pytest
import torch
from standins.refusals import refused

import rho2prop.autoencoder.training as training
from rho2prop.autoencoder.request import TrainingRequest, TrainingSettings
from rho2prop.core.jobs import memory
from rho2prop.densities.grids import Grid

pytestmark = pytest.mark.slow  # torch

CPU = torch.device("cpu")
GRID = Grid("window", 16, 0.35)
SETTINGS = TrainingSettings(
    network="fast", latent_size=4, dropout=0.0, orientations_per_epoch=2, batch_size=2,
    learning_rate=1e-3, max_epochs=4, patience=10, precision="fp32",
    grid_precision="bf16", devices=1, nodes=1, threads=1,
)  # fmt: skip


@pytest.fixture
def free_memory(monkeypatch):
    """Set the memory that the machine has free; no Slurm, no control group."""
    for name in ("SLURM_JOB_ID", "SLURM_NTASKS", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(memory, "cgroup_bytes", lambda: None)

    def set_bytes(free_bytes):
        machine = type("Memory", (), {"available": free_bytes})
        monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: machine)

    return set_bytes


def test_a_batch_that_does_not_fit_is_refused_before_a_grid_is_read(free_memory, tmp_path):
    free_memory(2e9)
    training.require_memory(SETTINGS, 64, CPU)
    large = replace(SETTINGS, batch_size=50, network="paper")
    with refused("paper", 50, "64³", "2.0 GB", code="memory") as refusal:
        training.require_memory(large, 64, CPU)
    asked = math.ceil(memory.training_bytes("paper", 64, 50) / 1e6)
    assert f"mem_mb={asked}" in refusal.value.fix
    training.require_memory(large, 64, torch.device("cuda"))
    grid = replace(GRID, size=64)
    with refused(50, "64³", code="memory"):
        training.train(TrainingRequest(tmp_path / "none", {}, large, grid, tmp_path / "out", tmp_path / "work", seed=1))


def test_the_ranks_of_a_node_share_its_memory(free_memory, monkeypatch):
    free_memory(2e9)
    training.require_memory(SETTINGS, 64, CPU)
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with refused(4, code="memory"):
        training.require_memory(SETTINGS, 64, CPU)


def test_a_slurm_job_counts_its_own_memory_and_not_the_nodes(free_memory, monkeypatch):
    free_memory(500e9)
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "2000")
    assert memory.allowed_bytes()[0] == 2000 * 2**20
    monkeypatch.delenv("SLURM_MEM_PER_NODE")
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "500")
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "8")
    assert memory.allowed_bytes()[0] == 4000 * 2**20


def test_the_resource_of_the_rule_limits(free_memory):
    free_memory(500e9)
    allowed_bytes, source = memory.allowed_bytes(3000)
    assert allowed_bytes == 3e9
    assert "mem_mb" in source


@pytest.mark.parametrize(
    ("line", "files", "expected"),
    [
        ("0::/a/job", {"a/job/memory.max": "max", "a/memory.max": "5000000", "memory.max": "max"}, 5e6),
        ("0::/a/job", {"a/job/memory.max": "4000", "a/memory.max": "5000000"}, 4e3),
        ("0::/", {"memory.max": "max"}, None),
        ("0::/gone/in/this/namespace", {"memory.max": "7000"}, 7e3),
        (
            "5:cpu,memory:/x",
            {"memory/x/memory.limit_in_bytes": "6000", "memory/memory.limit_in_bytes": str(2**63)},
            6e3,
        ),
        ("5:memory:/x", {"memory/x/memory.limit_in_bytes": "9223372036854771712"}, None),
        ("3:cpu:/x", {"memory.max": "7000"}, None),
    ],
)
def test_the_limit_of_a_control_group_is_the_least_of_it_and_those_above(tmp_path, line, files, expected):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(line + "\n")
    for name, text in files.items():
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    assert memory.cgroup_bytes(tmp_path) == expected


def test_a_job_asks_for_what_the_check_demands():
    for network, size, batch_size, devices in (("paper", 128, 4, 1), ("fast", 64, 4, 4), ("fast", 256, 16, 2)):
        asked = 1e6 * memory.training_mem_mb(network, size, batch_size, devices)
        assert asked >= devices * memory.training_bytes(network, size, batch_size)
    assert memory.grids_bytes(6000, 128, "fp32") == 6000 * 128**3 * 4
    assert memory.grids_bytes(6000, 128, "fp16") == memory.grids_bytes(6000, 128, "bf16") == 6000 * 128**3 * 2
