"""The chain through Slurm, and training in several ranks."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from pymatgen.core import Lattice, Structure
from standins.cluster import ROOT, Run
from torch import nn

from rho2prop.autoencoder.training import load_autoencoder
from rho2prop.densities.density import Density, read_npz, write_npz
from rho2prop.densities.electrons import SYMBOLS, possible_electrons
from rho2prop.densities.grids import Grid, to_grid

# One core is reserved for each in the cluster, two on the local machine: the numbers do not depend on it.
OPTIONS = ("--set-threads", "train_autoencoder=1", "encode_latents=1", "write_fingerprints=1")
CONFIG = "tests/hpc/chain.yaml"
LEARNED = "results/learning/attention_cnn/magpie_latent/random"  # one point of a network's learning curve


def smooth_density(edge_ang, anion):
    """Valence electrons in a cubic cell, densest at its corner, where the lithium atom is; ``anion`` in its middle."""
    n_electrons = float(min(possible_electrons({"Li": 1, SYMBOLS[anion - 1]: 1})))
    waves = np.cos(2 * np.pi * np.arange(12) / 12)
    values = np.exp(edge_ang / 2 * (waves[:, None, None] + waves[:, None] + waves))
    values *= n_electrons / (values.mean() * edge_ang**3)
    positions = np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]])
    return Density(values, np.eye(3) * edge_ang, np.array([3, anion]), positions, n_electrons, "valence", "test 1.0")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A materials table of eleven cubic crystals, the softer the larger."""
    folder = tmp_path_factory.mktemp("table")
    rows = ["material_id,structure,density,bulk_modulus_gpa"]
    for i, anion in enumerate([5, 6, 7, 8, 9, 13, 14, 15, 16, 17, 31]):
        density = smooth_density(3.0 + 0.05 * i, anion)
        write_npz(density, folder / f"m{i}.npz")
        structure = Structure(Lattice(density.lattice), density.numbers, density.frac_coords)
        structure.to(str(folder / f"m{i}.vasp"), fmt="poscar")
        rows.append(f"m{i},m{i}.vasp,m{i}.npz,{200 - 11 * i}")
    (folder / "materials.csv").write_text("\n".join(rows) + "\n")
    return folder / "materials.csv"


@pytest.fixture(scope="module")
def chain(cluster, table, tmp_path_factory):
    """A finished run through Slurm, up to the metrics."""
    options = ("--config", f"materials={table}", "--configfile", CONFIG, *OPTIONS)
    run = Run(cluster, tmp_path_factory.mktemp("chain"), *options)
    run.submit("--", "results/metrics.csv", LEARNED).wait()
    yield run
    run.close()


def test_metrics_are_those_of_a_local_run(chain, tmp_path):
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/local", "--cores", "2", "--nocolor"]
    command += ["--directory", str(tmp_path), *chain.options[:4], "--", "results/metrics.csv"]
    local = subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert local.returncode == 0, local.stdout[-3000:]
    expected = (tmp_path / "results/metrics.csv").read_text()
    assert len(expected.splitlines()) > 4
    assert (chain.folder / "results/metrics.csv").read_text() == expected


def test_every_job_ran_once_in_its_partition_and_many_materials_shared_one(chain):
    jobs = chain.cluster.jobs(chain.folder)
    assert {job["JobState"] for job in jobs} == {"COMPLETED"}
    names = [job["StdOut"].split("slurm_logs/")[1].split("/")[0] for job in jobs]
    partitions = {name: job["Partition"] for name, job in zip(names, jobs, strict=True)}
    assert partitions["group_dft_run_dft"] == "dft"
    assert partitions["rule_train_autoencoder"] == partitions["rule_encode_latents"] == "gpu"
    assert partitions["rule_fit_network"] == partitions["rule_learn_network"] == "gpu"
    assert partitions["rule_write_descriptors"] == partitions["rule_fit_regression"] == "cpu"
    assert not {"rule_write_splits", "rule_gather_chunks", "rule_evaluate_regressions"} & set(names)  # jobs of seconds
    n_chunks = len(list((chain.folder / "results/chunks/features/fingerprint").glob("*.csv")))
    assert names.count("rule_write_fingerprints") == n_chunks > 1
    on_gpu = {job["JobId"] for job in jobs if "gpu" in job.get("TresPerJob", "") + job.get("TresPerNode", "")}
    assert on_gpu == {job["JobId"] for job in jobs if job["Partition"] == "gpu"}
    assert names.count("rule_fit_network") == 2
    n_materials = len(pd.read_csv(chain.folder / "results/dft_outcomes.csv"))
    assert names.count("group_dft_run_dft") == -(-n_materials // 10)


def test_training_on_two_gpus_of_two_nodes(chain, tmp_path):
    several = {"autoencoder": {"devices": 2, "nodes": 2, "precision": "fp32", "threads": 1}}
    (tmp_path / "ranks.yaml").write_text(yaml.safe_dump(several))
    options = [*chain.options[:4], str(tmp_path / "ranks.yaml"), *OPTIONS]
    run = Run(chain.cluster, chain.folder, *options)
    run.submit("--allowed-rules", "write_grids", "train_autoencoder", "--", "results/autoencoder/random-0").wait()
    job = chain.cluster.jobs(chain.folder)[-1]
    assert (job["NumNodes"], job["NumTasks"], job["Partition"]) == ("2", "4", "gpu")
    assert "gpu:2" in job["TresPerNode"]

    folder = chain.folder / "results/autoencoder/random-0"
    model, record = load_autoencoder(folder)
    assert record["ranks"] == 4
    parts = pd.read_csv(folder / "split.csv", dtype=str)
    names = parts.loc[parts["part"] == "validation", "material_id"]
    densities = [(name, chain.folder / f"results/dft/{name}/density.npz") for name in names]
    windows = [to_grid(read_npz(path), Grid(**record["grid"])) for _, path in densities]
    grids = torch.from_numpy(np.stack(windows))[:, None]
    with torch.no_grad():
        error = nn.functional.mse_loss(model(grids), grids).item()
    assert error == pytest.approx(record["best_validation_mse"], rel=1e-3)
    history = pd.read_csv(folder / "history.csv")
    assert len(history) == record["epochs"] == 2
    assert np.isfinite(history[["train_loss", "validation_loss"]]).all(axis=None)
    assert json.loads((folder / "model.json").read_text())["settings"]["nodes"] == 2
