"""Memory and time that jobs of regressions request: they follow from the number of materials; too many are refused."""

import copy
from pathlib import Path

import pytest
import yaml
from standins.refusals import refused

from rho2prop.evaluation.plan import Plan
from rho2prop.evaluation.requests import explain_minutes, fit_mem_mb, fit_minutes, require_memory
from rho2prop.models.registry import MODELS

DEFAULTS = yaml.safe_load((Path(__file__).parents[3] / "config.yaml").read_text(encoding="utf-8"))
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
