"""Nothing of a cluster outlives it."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from standins.cluster import Cluster, wait_for


@pytest.fixture
def second(cluster):
    """A second Slurm beside the first, of one node."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    slurm = Cluster(folder, nodes=1)
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()
        shutil.rmtree(folder, ignore_errors=True)


def test_stopping_leaves_no_process_and_no_file_behind(cluster, second):
    job_id = second.run("sbatch", "--parsable", "--output=/dev/null", "--mem=100", "--wrap", "sleep 900").strip()
    wait_for("running job", lambda: second.job(job_id)["JobState"] == "RUNNING")
    programs = {"munged", "slurmctld", "slurmd", "slurmstepd", "sleep"}
    wait_for("all programs seen", lambda: programs <= {process.info["name"] for process in second.processes()})
    second.stop()
    assert second.processes() == []
    assert not second.folder.exists()
    assert "idle" in cluster.run("sinfo", "--noheader", "--Format=StateCompact")  # the other one still works


def test_starting_twice_changes_nothing(second):
    before = {process.pid for process in second.processes()}
    second.start()
    assert {process.pid for process in second.processes()} == before


def test_commands_of_one_cluster_do_not_reach_the_other(cluster, second):
    assert second.run("scontrol", "show", "config") != cluster.run("scontrol", "show", "config")
    gone = subprocess.run(["scontrol", "show", "node", "node2"], env=second.environment, capture_output=True)
    assert gone.returncode != 0
