"""One Slurm for all tests of this folder, started before the first and stopped after the last."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from standins.cluster import Cluster, Faults


@pytest.fixture(scope="session")
def cluster():
    """A Slurm of two nodes. Only root can start one: slurmd starts jobs as the user who submitted them."""
    if os.getuid() != 0:
        pytest.skip("Slurm is started as root")
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # short: paths of sockets have at most 107 characters
    slurm = Cluster(folder)
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()
        shutil.rmtree(folder, ignore_errors=True)
    assert slurm.processes() == []


@pytest.fixture(scope="module")
def faults(cluster, tmp_path_factory):
    """Start a run of ``faults.smk`` with jobs of these names."""
    runs = []

    def start(*names: str) -> Faults:
        runs.append(Faults(cluster, tmp_path_factory.mktemp("-".join(names)), *names))
        return runs[-1]

    yield start
    for run in runs:
        run.close()
