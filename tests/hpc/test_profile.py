"""What `profiles/slurm` asks of a cluster: submissions, GPUs, comments."""

import re
import subprocess
import sys

import pytest
import yaml
from cluster import ROOT
from standins.tables import write_table

from rho2prop.slurm import growing, rank_resources

PROFILE = ROOT / "profiles" / "slurm" / "profile.v9+.yaml"


def test_six_thousand_materials_are_few_jobs_and_fewer_submissions(tmp_path):
    table = write_table(tmp_path, 6059)
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/slurm", "--nocolor", "--dry-run"]
    command += ["--quiet", "host", "--directory", str(tmp_path / "run")]
    command += ["--config", f"materials={table}"]
    result = subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert result.returncode == 0, result.stdout[-3000:]
    jobs = re.findall(r"^ *(?:local)?(?:rule|checkpoint) (\w+):", result.stdout, flags=re.MULTILINE)
    groups = re.findall(r"^group job ", result.stdout, flags=re.MULTILINE)
    grouped = yaml.safe_load(PROFILE.read_text())["groups"]
    assert jobs.count("run_dft") == 6059
    assert len(jobs) <= 12_000
    assert len(groups) + sum(name not in grouped and name != "all" for name in jobs) <= 700


def test_every_key_of_the_profile_has_a_comment():
    lines = PROFILE.read_text().splitlines()
    for above, line in zip(["", *lines], lines, strict=False):
        if re.match(r"\s*(# )?[\w-]+: +[^# ]", line):  # a key with a value; those with keys below it explain them there
            assert "#" in line or above.strip().startswith("#"), line


def test_resources_grow_with_each_attempt():
    memory = growing(2000)
    assert [memory(None, attempt) for attempt in (1, 2, 3)] == [2000, 4000, 6000]


@pytest.mark.parametrize(
    ("devices", "nodes", "asked"),
    [
        (1, 1, {"gpu": 1}),
        (4, 1, {"gres": "gpu:4", "tasks_per_node": 4}),
        (1, 3, {"gres": "gpu:1", "tasks": 3, "nodes": 3}),
    ],
)
def test_gpus_and_nodes_of_a_training(devices, nodes, asked):
    resources = rank_resources(devices, nodes)
    assert asked.items() <= resources.items()
    assert ("mpi" in resources) == (devices * nodes > 1)
