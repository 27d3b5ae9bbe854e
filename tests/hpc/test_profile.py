"""What `profiles/slurm` asks of a cluster: submissions, GPUs, comments."""

import os
import re
import subprocess
import sys

import pytest
import yaml
from standins.cluster import ROOT
from standins.tables import write_table

from rho2prop.core.jobs.chunks import chunks_of
from rho2prop.core.jobs.slurm import growing, rank_resources
from rho2prop.features.registry import GRAPH, LATENT, TABLE
from rho2prop.models.registry import MODELS

NAMES = tuple(f"m-{number}" for number in range(6059))  # of standins.tables.write_table
PROFILE = ROOT / "profiles" / "slurm" / "profile.v9+.yaml"


def test_six_thousand_materials_are_few_jobs_and_fewer_submissions(tmp_path):
    table = write_table(tmp_path, 6059)
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/slurm", "--nocolor", "--dry-run"]
    command += ["--quiet", "host", "--directory", str(tmp_path / "run")]
    command += ["--config", f"materials={table}"]
    result = subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert result.returncode == 0, result.stdout[-3000:]
    jobs = re.findall(r"^ *(?:local)?(?:rule|checkpoint) (\w+):", result.stdout, flags=re.MULTILINE)
    groups = re.findall(r"^(?:\[.*\] )?Group job ", result.stdout, flags=re.MULTILINE)
    grouped = yaml.safe_load(PROFILE.read_text())["groups"]
    assert jobs.count("run_dft") == 6059
    assert len(jobs) <= 12_000
    submitted = [name for name in jobs if name not in {"all", *grouped, *local_rules()}]
    assert len(groups) == 606  # of ten DFT runs
    assert len(groups) + len(submitted) <= 850
    assert jobs.count("write_descriptors") == jobs.count("encode_latents") == len(chunks_of(NAMES, 250))
    assert {"gather_chunks", "write_splits", "evaluate_regressions"} <= set(jobs) - set(submitted)


def local_rules() -> set[str]:
    """Rules that run on the login node; a dry run does not tell."""
    texts = "\n".join(path.read_text() for path in (ROOT / "rules").glob("*.smk"))
    rules = re.split(r"^ *(?:use )?(?:rule|checkpoint) (?=\w+)", texts, flags=re.MULTILINE)
    return {re.match(r"\w+", text)[0] for text in rules[1:] if re.search("^ *localrule: True$", text, re.MULTILINE)}


@pytest.fixture(scope="module")
def resources(tmp_path_factory):
    """Resources of each job of a run of all models, as the profile and the rules give them: (rule, model) to text."""
    folder = tmp_path_factory.mktemp("resources")
    features = {TABLE: "magpie", LATENT: "latent", GRAPH: "graph"}
    sets = {name: [features[model.accepts[0]]] for name, model in MODELS.items() if model.accepts}
    learned = [{"model": name, "features": sets[name][0]} for name in sets]
    predict = [{"model": "lightgbm", "features": "magpie"}]
    config = {
        "materials": str(write_table(folder, 60)),
        "evaluation": {"splits": ["random"], "regressions": sets},
        "learning_curve": {"sizes": [50], "models": learned},
        "predict": predict,
        "invariance": {"models": predict},
    }
    (folder / "all.yaml").write_text(yaml.safe_dump(config))
    (folder / "alignn").mkdir()  # a dry run asks only whether the package is there
    (folder / "alignn/__init__.py").touch()
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/slurm", "--nocolor", "--dry-run"]
    command += ["--directory", str(folder / "run"), "--configfile", str(folder / "all.yaml"), "--quiet", "host"]
    result = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(folder)}, text=True, capture_output=True
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    found = {}
    for job in re.split(r"^ *(?:local)?(?:rule|checkpoint) ", result.stdout, flags=re.MULTILINE)[1:]:
        model = re.search(r"wildcards: model=(\w+)", job)
        given = re.search(r"^ *resources: (.*)$", job, flags=re.MULTILINE)
        found[job.split(":")[0], model and model[1]] = dict(pair.split("=", 1) for pair in given[1].split(", "))
    return found


@pytest.mark.parametrize("model", [name for name in MODELS if MODELS[name].accepts])
@pytest.mark.parametrize("rules", [("fit_regression", "fit_network"), ("learn_from_fewer", "learn_network")])
def test_networks_and_nothing_else_run_on_a_gpu(resources, model, rules):
    rule = rules[MODELS[model].needs_gpu]
    assert (rule, model) in resources
    assert (rules[not MODELS[model].needs_gpu], model) not in resources
    given = resources[rule, model]
    wanted = ("1", "gpu") if MODELS[model].needs_gpu else ("0", "cpu")
    assert (given.get("gpu", "0"), given["slurm_partition"]) == wanted


def test_every_job_with_a_gpu_goes_where_gpus_are_and_no_other(resources):
    on_gpu = {rule for (rule, _), given in resources.items() if given.get("slurm_partition") == "gpu"}
    assert on_gpu == {rule for (rule, _), given in resources.items() if given.get("gpu", "0") != "0"}
    assert on_gpu == {"train_autoencoder", "encode_latents", "fit_network", "learn_network"}


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
