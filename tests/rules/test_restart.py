"""What an earlier run has left, and what changes while one goes on, through the Snakemake command line."""

import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from standins.records import seal_in
from standins.refusals import lacking, refused
from standins.rule_run import ROOT, configured, snakemake

from rho2prop.core.jobs.running_jobs import JOBS, refuse_while_local_jobs_run
from rho2prop.densities.density import write_npz

PATIENCE_S = 300


def started(folder, *arguments):
    """A Snakemake that runs in the background, in a session of its own."""
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--nocolor", "--directory", str(folder), *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )


def says(process: subprocess.Popen, log: Path, pattern: str) -> bool:
    """Wait until a line of a log matches; False where the process ends before."""
    log.parent.mkdir(parents=True, exist_ok=True)
    command = ["tail", f"--pid={process.pid}", "--follow=name", "--retry", "--lines=+1", str(log)]
    tail = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        return any(re.search(pattern, line) for line in tail.stdout)  # universal newlines: progress bars write \\r
    finally:
        tail.kill()
        tail.communicate()


def test_a_second_run_waits_for_the_jobs_that_a_killed_one_left(table, density):
    folder = table / "run"
    for i in range(12):
        write_npz(density, folder / f"results/dft/m-{i:02d}/density.npz")
    seal_in(folder, [f"results/dft/m-{i:02d}" for i in range(12)])
    endless = {"max_epochs": 10**9, "patience": 10**9, "latent_size": 4}
    grid = {"size": 16, "voxel_ang": 0.4}
    rules = ("--allowed-rules", "write_grids", "train_autoencoder")
    options = (*configured(table, {"grid": grid, "autoencoder": endless}), *rules)
    target = ("--", "results/autoencoder/all")
    checkpoint = folder / "results/checkpoints/autoencoder/all/checkpoint.safetensors"
    orphan, first = None, started(folder, *options, *target)
    try:
        assert says(first, folder / "logs/train_autoencoder/all.log", r"\b[2-9]/1000000000"), first.communicate()[0]
        assert checkpoint.is_file()
        first.send_signal(signal.SIGKILL)
        first.wait()
        with refused("logs/train_autoencoder/all.log"):
            refuse_while_local_jobs_run(folder)
        (job,) = (folder / JOBS).glob("*.json")
        orphan = psutil.Process(int(job.stem.rpartition("-")[2]))

        options = (*configured(table, {"grid": grid, "autoencoder": endless | {"max_epochs": 1}}), *options[2:])
        assert snakemake(folder, *options, "--unlock").returncode == 0
        second = snakemake(folder, *options, *target)
        assert second.returncode != 0
        assert not lacking(second.stdout, orphan.pid)
        assert orphan.is_running()
    finally:
        os.killpg(first.pid, signal.SIGKILL)
    psutil.wait_procs([orphan], timeout=PATIENCE_S)
    third = snakemake(folder, *options, *target)
    assert third.returncode == 0, third.stdout
    assert len(pd.read_csv(folder / "results/autoencoder/all/history.csv")) == 1
    assert not checkpoint.exists()


def test_a_label_that_is_edited_during_a_run_is_never_used_in_its_old_value(table, density):
    folder, path = table / "run", table / "materials.csv"
    atom = replace(density, numbers=np.array([26]), frac_coords=density.frac_coords[:1])  # Fe can have 8 electrons
    from pymatgen.core import Lattice, Structure

    Structure(Lattice(atom.lattice), atom.numbers, atom.frac_coords).to(str(table / "a.cif"))
    write_npz(atom, table / "a.npz")
    path.write_text("material_id,structure,density,bulk_modulus_gpa\na,a.cif,a.npz,50\nb,a.cif,a.npz,60\n")
    (folder / "results/materials.csv").unlink()
    options = configured(table, {"dft": {"engine": "files"}})
    target = ("--", "results/materials.csv")
    run = started(folder, *options, *target)
    for line in run.stdout:
        if "1 of 3 steps" in line:  # the second density is still to come, and then the labels
            path.write_text(path.read_text().replace(",50", ",55"))
    assert run.wait() != 0
    assert not (folder / "results/materials.csv").exists()
    assert not lacking((folder / "logs/collect_materials.log").read_text(), path)
    again = snakemake(folder, *options, *target)
    assert again.returncode == 0, again.stdout
    labels = pd.read_csv(folder / "results/materials.csv", index_col="material_id")["bulk_modulus_gpa"]
    assert dict(labels) == {"a": 55, "b": 60}
