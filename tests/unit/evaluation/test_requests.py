"""Memory and time that jobs of regressions request: they follow from the number of materials; too many are refused."""

import copy
import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from standins.refusals import refused

from rho2prop.core.jobs.requests import REGRESSIONS, REQUESTS, TIME_MARGIN
from rho2prop.evaluation.plan import Plan
from rho2prop.evaluation.requests import (
    RunSize,
    explain_minutes,
    fit_mem_mb,
    fit_minutes,
    job_request,
    require_memory,
    training_minutes,
)
from rho2prop.models.registry import MODELS

ROOT = Path(__file__).parents[3]
DEFAULTS = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
PLAN = Plan(DEFAULTS)
SIZES = (0, 30, 500, 1500, 6000)
CHOICES = [("mean", "none"), ("lightgbm", "magpie"), ("lightgbm", "magpie_latent_pca"), ("blend", "total_density")]
CHOICES += [("gaussian_process", "no_density"), ("attention_cnn", "magpie_latent"), ("graph_network", "graph")]
EXACT = {"likelihood_rows": 10**6}  # as without the settings


def plan_with(**settings) -> Plan:
    config = copy.deepcopy(DEFAULTS)
    config["gaussian_process"] |= settings
    return Plan(config)


@pytest.mark.parametrize(("model", "features"), CHOICES)
def test_requests_never_fall_with_the_number_of_materials(model, features):
    plan = plan_with(**EXACT)
    memory = [fit_mem_mb(plan, model, features, size) for size in SIZES]
    times = [fit_minutes(plan, model, "random", [size]) for size in SIZES]
    explained = [explain_minutes(plan, model, features, size) for size in SIZES]
    assert memory == sorted(memory)
    assert memory[0] < memory[-1]
    assert times == sorted(times)
    assert explained == sorted(explained)
    assert fit_minutes(plan, model, "all", [6000]) <= times[-1] <= fit_minutes(plan, model, "random", [6000, 500])


@pytest.mark.parametrize(
    ("model", "features", "measured_mb"),  # of the chain on 32 crystals
    [
        ("mean", "none", 163),
        ("lightgbm", "magpie_fingerprint", 320),
        ("blend", "total_density", 530),
        ("attention_cnn", "latent", 458),
    ],
)
def test_requests_of_small_runs_are_above_what_was_measured(model, features, measured_mb):
    requested = fit_mem_mb(PLAN, model, features, 32)
    assert measured_mb < requested
    assert requested < 3.5 * measured_mb or MODELS[model].needs_gpu  # CUDA's libraries were not there


def test_the_default_settings_fit_any_number_of_materials_in_eight_gigabytes():
    for n_materials in (6059, 10_000, 30_000):
        require_memory(n_materials, "table.csv", PLAN)
        assert fit_mem_mb(PLAN, "blend", "total_density", n_materials) < 8000


@pytest.mark.parametrize(
    ("settings", "n_materials", "key"),
    [
        (EXACT, 6059, "likelihood_rows"),
        ({"subset_rows": 6000}, 6059, "subset_rows"),
        ({"exact_rows": 10**5}, 40_000, "exact_rows"),
        ({"inducing_rows": 20_000}, 40_000, "inducing_rows"),
    ],
)
def test_more_than_fits_is_refused_with_the_setting_and_a_value_that_fits(settings, n_materials, key):
    plan = plan_with(**settings)
    with refused(n_materials, source="gaussian_process.max_mem_mb", code="memory") as caught:
        require_memory(n_materials, "table.csv", plan)
    _, _, value = caught.value.fix.partition(f"gaussian_process.{key}")
    most = int("".join(filter(str.isdigit, value)))
    assert 0 < most < n_materials
    require_memory(n_materials, "table.csv", plan_with(**settings | {key: most}))
    needed = max(fit_mem_mb(plan, choice.model, choice.features, n_materials) for choice in plan.evaluation.regressions)
    require_memory(n_materials, "table.csv", plan_with(**settings, max_mem_mb=needed))


def test_a_run_without_the_process_is_not_refused():
    config = plan_with(**EXACT).config
    config["evaluation"]["regressions"] = {"lightgbm": ["magpie"]}
    require_memory(10**5, "table.csv", Plan(config))


FEATURES = {
    "mean": "none",
    "lightgbm": "magpie_fingerprint",
    "blend": "total_density",
    "attention_cnn": "magpie_latent",
}
WITHOUT_JUDGEMENT_MB = {False: 2000, True: 4500}  # as in the report; networks wait for a GPU, whose libraries are large
with (ROOT / "benchmarks" / "requests.csv").open(encoding="utf-8", newline="") as file:
    MEASURED = list(csv.DictReader(file))


def plan_of(*, size=64, kind="window", network="fast", engine="atoms", epochs=None) -> Plan:
    config = copy.deepcopy(DEFAULTS)
    config["grid"] |= {"size": size, "kind": kind}
    config["autoencoder"] |= {"network": network} | ({"max_epochs": epochs} if epochs else {})
    config["dft"]["engine"] = engine
    return Plan(config)


def of_model(model: str) -> dict[str, str]:
    return {"model": model, "features": FEATURES[model], "split": "random"}


@pytest.mark.parametrize("row", MEASURED, ids=lambda row: f"{row['rule']} {row['model']} {row['max_rss_mb']}")
def test_requests_hold_what_was_measured_and_at_most_twice_as_much(row):
    plan = plan_of(size=int(row["grid_size"]), network=row["network"], engine=row["engine"])
    number, threads, measured_mb = int(row["materials"]), int(row["threads"]), int(row["max_rss_mb"])
    wildcards = of_model(row["model"]) if row["model"] else {}
    mem_mb, minutes = job_request(plan, row["rule"], RunSize(number, number), threads, wildcards)
    on_gpu = row["rule"] in ("train_autoencoder", "fit_network")
    assert measured_mb < mem_mb <= max(2 * measured_mb, WITHOUT_JUDGEMENT_MB[on_gpu] * threads)
    if row["cpu_s"]:
        assert int(row["cpu_s"]) < 60 * minutes
        assert minutes <= max(60, 2 * TIME_MARGIN * int(row["cpu_s"]) / 60)


def rules_of_jobs() -> set[str]:
    """Rules that are not local ones, by the texts of the rule files."""
    texts = "\n".join(path.read_text() for path in (ROOT / "rules").glob("*.smk"))
    parts = re.split(r"^ *(?=(?:use rule|rule|checkpoint)\b)", texts, flags=re.MULTILINE)[1:]
    named = {}
    for part in parts:
        name = re.match(r"use rule \w+ as (\w+)|(?:rule|checkpoint) (\w+)", part)
        if not re.search(r"^ *localrule: True$", part, re.MULTILINE):
            named[(name[1] or name[2]) if name else "run_dft"] = part  # a batch of it has no name of its own
    asked = {name: set(re.findall(r"\*\*requested\(\s*\"(\w+)\"", part)) for name, part in named.items()}
    assert asked == {name: {name} for name in named}
    assert all("benchmark:" in part or part.startswith("use rule") for part in named.values())
    return set(named)


def test_every_rule_requests_by_size_and_is_measured():
    assert rules_of_jobs() == {*REQUESTS, *REGRESSIONS, "run_dft", "run_atom", "train_autoencoder"}


@pytest.mark.parametrize("rule", sorted({*REQUESTS, "run_dft"}))
def test_requests_never_fall_with_size(rule):
    by_number = [job_request(plan_of(), rule, RunSize(number, number)) for number in (0, 500, 6000, 150_000)]
    by_grid = [job_request(plan_of(size=size), rule, RunSize(6000, 6000)) for size in (32, 64, 128)]
    by_network = [job_request(plan_of(network=name), rule, RunSize(6000, 6000)) for name in ("fast", "paper")]
    by_threads = [job_request(plan_of(), rule, RunSize(6000, 6000), threads)[0] for threads in (1, 8)]
    for requests in (by_number, by_grid, by_network):
        for amounts in zip(*requests, strict=True):
            assert list(amounts) == sorted(amounts)
    assert by_threads == sorted(by_threads)


def test_only_jobs_of_the_whole_run_grow_with_it():
    small, large = (RunSize(number, number) for number in (1000, 100_000))
    growing = {rule for rule in REQUESTS if job_request(plan_of(), rule, small) != job_request(plan_of(), rule, large)}
    assert {"write_grids", "evaluate_reconstruction", "collect_materials", "predict_properties"} <= growing
    assert not growing & {"write_fingerprints", "encode_latents", "encode_material", "write_slices"}


def test_calculations_request_what_the_configuration_says():
    config = copy.deepcopy(DEFAULTS)
    config["dft"]["machine"] = {"mem_mb": 7000, "runtime_min": 90}
    config["dft"]["engine"] = "gpaw"
    assert job_request(Plan(config), "run_dft", RunSize(500, 500)) == (7000, 90)
    assert job_request(Plan(config), "run_atom", RunSize(500, 500)) == (14000, 180)
    config["dft"]["engine"] = "atoms"
    assert job_request(Plan(config), "run_dft", RunSize(500, 500))[0] < 7000


def test_the_time_of_a_training_follows_from_its_steps_up_to_a_day():
    short, long, longest = (training_minutes(plan_of(epochs=epochs), 6000) for epochs in (10, 40, 4000))
    assert short < long < longest == 1440
    assert training_minutes(plan_of(network="paper", epochs=10), 6000) > short


def test_networks_that_are_explained_need_no_memory_for_a_gpu():
    fitted, explained = (
        job_request(PLAN, rule, RunSize(500, 500), 1, of_model("attention_cnn"))[0]
        for rule in ("fit_network", "explain_regression")
    )
    assert explained < fitted / 2


def test_a_learning_curve_takes_the_time_of_its_sizes():
    minutes = [
        job_request(PLAN, "learn_from_fewer", RunSize(number, number), 1, of_model("blend"))[1] for number in (40, 6000)
    ]
    assert minutes[0] < minutes[1] < job_request(PLAN, "fit_regression", RunSize(6000, 6000), 1, of_model("blend"))[1]


@pytest.mark.slow
def test_the_table_of_the_documentation_is_what_its_command_prints():
    command = [sys.executable, str(ROOT / "benchmarks" / "request_table.py")]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    start = (lines := (ROOT / "docs" / "cluster.md").read_text().splitlines()).index(printed[0])
    assert lines[start : start + len(printed)] == printed
