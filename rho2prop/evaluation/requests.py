"""Memory and time that jobs request, from the number of materials and the configuration.

What was measured of most rules is in ``rho2prop.core.jobs.requests``; here are the regressions and trainings.

The Snakefile asks this each time it is read, also inside every cluster job, so nothing slow is imported.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rho2prop.core.errors import InputError
from rho2prop.core.jobs.memory import GPU_HOST_MB, training_mem_mb
from rho2prop.core.jobs.requests import (
    ALL,
    BATCH,
    CHUNK,
    LABELLED,
    LEAST_MB,
    LEAST_MINUTES,
    MEASURED_ENGINES,
    REGRESSIONS,
    REQUESTS,
    STEP_MB,
    STEP_MINUTES,
    TIME_MARGIN,
    Work,
    rounded_up,
)
from rho2prop.evaluation.plan import Plan
from rho2prop.features.registry import BLOCKS, LATENT, LATENT_PCA
from rho2prop.models import gaussian_process_memory as process
from rho2prop.models.registry import GAUSSIAN_PROCESS, LIGHTGBM, MODELS
from rho2prop.models.settings import GaussianProcessSettings

# Measured with a few materials: 165 MB for the mean, 235 to 320 for LightGBM, 440 to 530 with torch.
LIBRARIES_MB = 500
TORCH_MB = 300
MATERIAL_MB = 0.06  # 600 columns in double precision, twelve times: files, parts of a fold, sets of LightGBM
LATENT_CHANNELS, LATENT_COPIES = 16, 4  # in single precision: as read, of a fold, scaled, in the PCA
TARGETS_LEARNED = 5
# Of LightGBM, seconds a round on one core: of small tables, and for each material with 600 columns.
ROUND_S, ROUND_MATERIAL_S = 2e-3, 4e-6
NETWORK_MINUTES, NETWORK_MATERIALS = 720, 6000  # the most for so many materials
NETWORK_S = 3e-6  # on one core, of each material, epoch and value of a latent channel
STEP_S = {"fast": 1.1e-7, "paper": 6.1e-7}  # of a training on one core, each grid and epoch, per voxel (fp32)
TRAINING_S = 100  # before the first epoch and after the last
MOST_TRAINING_MINUTES = 1440  # what it lacks then is trained by the next attempt, from the last epoch
FAST_SHARE = 0.25  # of the time and memory of the paper's network, measured in encoding
ORIENTATIONS = 25  # of a window: as given, and in 24 that are averaged
EXPLAINED_ROWS = 1000  # for each set of present blocks: rows times background (``rho2prop.evaluation.importance``)


def process_settings(plan: Plan) -> GaussianProcessSettings:
    """Section ``gaussian_process``."""
    settings = MODELS[GAUSSIAN_PROCESS].settings_of(plan.settings_of(GAUSSIAN_PROCESS))
    assert isinstance(settings, GaussianProcessSettings)
    return settings


def fit_mem_mb(plan: Plan, model: str, features: str, n_materials: int, explains: bool = False) -> int:
    """Memory in MB to fit a model to ``n_materials``, or to explain it, which needs no GPU."""
    fixed = _fixed_mb(plan, model, features, n_materials, MODELS[model].needs_gpu and not explains)
    return fixed + (process.peak_mb(n_materials, process_settings(plan)) if _has_process(model) else 0)


def fit_minutes(plan: Plan, model: str, split: str, sizes: Sequence[int]) -> int:
    """Time in minutes to fit a model on one core in all folds of a split, to each of ``sizes`` materials."""
    n_fits = len(plan.folds(split))
    if MODELS[model].needs_gpu:
        return _network_minutes(plan, model, n_fits, sizes)
    seconds = 0.0
    for member in (model, *MODELS[model].members):
        n_targets = TARGETS_LEARNED - len(MODELS[model].derived_targets)
        if member == GAUSSIAN_PROCESS:
            seconds += n_targets * n_fits * sum(process.fit_s(size, process_settings(plan)) for size in sizes)
        elif member == LIGHTGBM:
            section = plan.config[MODELS[LIGHTGBM].section]
            rounds = sum(ROUND_S + ROUND_MATERIAL_S * size for size in sizes)
            seconds += n_targets * n_fits * section["n_trials"] * section["max_rounds"] * rounds
    return _minutes(seconds)


def _network_minutes(plan: Plan, model: str, n_fits: int, sizes: Sequence[int]) -> int:
    """Time on a CPU, but no more than what a GPU takes."""
    section = plan.config[MODELS[model].section]
    n_networks = n_fits * section["n_trials"] * (1 if MODELS[model].is_joint else TARGETS_LEARNED)
    n_values = plan.config["autoencoder"]["latent_size"] ** 3
    n_samples = sum(min(section["max_epochs"] * size, section["max_samples"]) for size in sizes)
    on_cpu = _minutes(NETWORK_S * n_networks * n_samples * n_values)
    return min(on_cpu, math.ceil(NETWORK_MINUTES * max(1.0, sum(sizes) / NETWORK_MATERIALS)))


def explain_minutes(plan: Plan, model: str, features: str, n_materials: int) -> int:
    """Time in minutes for the importance of the blocks of a model in all folds of a split."""
    seconds = 0.0
    if _has_process(model):
        pairs = EXPLAINED_ROWS * process.kept_rows(n_materials, process_settings(plan))
        n_predictions = 2 ** len(plan.blocks(features)) * plan.evaluation.n_folds * TARGETS_LEARNED
        seconds = process.COVARIANCE_S * pairs * n_predictions
    return _minutes(seconds)


def training_minutes(plan: Plan, n_materials: int) -> int:
    """Time in minutes to train an autoencoder on ``n_materials`` without a GPU, at most a day."""
    settings, voxels = plan.config["autoencoder"], plan.config["grid"]["size"] ** 3
    n_steps = n_materials * settings["orientations_per_epoch"] * settings["max_epochs"]
    seconds = TRAINING_S + STEP_S[settings["network"]] * voxels * n_steps / settings["threads"]
    return min(MOST_TRAINING_MINUTES, _minutes(seconds))


@dataclass(frozen=True)
class RunSize:
    """Materials of a run: all, and those with labels. Both 0 as long as the table is not known."""

    n_all: int = 0
    n_labelled: int = 0


def job_request(
    plan: Plan, rule: str, size: RunSize, threads: int = 1, wildcards: Mapping[str, str] | None = None
) -> tuple[int, int]:
    """Memory in MB and time in minutes that the first attempt of a job requests.

    Parameters
    ----------
    plan
        Of the whole configuration.
    rule
        Name of a rule that is not a local one.
    size
        Of the run.
    threads
        Of the job.
    wildcards
        Of the job; regressions follow from ``model``, ``features`` and ``split``.
    """
    config, given = plan.config, wildcards or {}
    if rule in REGRESSIONS:
        explains = rule == "explain_regression"
        memory = fit_mem_mb(plan, given["model"], given["features"], size.n_labelled, explains)
        return max(LEAST_MB, rounded_up(memory, STEP_MB)), _regression_minutes(plan, rule, size.n_labelled, given)
    if rule == "train_autoencoder":
        settings = config["autoencoder"]
        chosen = settings["network"], config["grid"]["size"], settings["batch_size"], settings["devices"]
        return training_mem_mb(*chosen), training_minutes(plan, size.n_labelled)
    engine, machine = config["dft"]["engine"], config["dft"]["machine"]
    if rule == "run_dft" and engine not in MEASURED_ENGINES:
        return machine["mem_mb"], machine["runtime_min"]
    if rule == "run_atom":  # in a large box
        return 2 * machine["mem_mb"], 2 * machine["runtime_min"]
    request = MEASURED_ENGINES[engine] if rule == "run_dft" else REQUESTS[rule]
    work = _work(plan, request.materials, size, threads)
    return request.mem_mb(work), request.minutes(work)


def _work(plan: Plan, materials: str, size: RunSize, threads: int) -> Work:
    config = plan.config
    in_batch = config["dft"][config["dft"]["engine"]].get("machine", {}).get("materials_per_job", 1)
    numbers = {ALL: size.n_all, LABELLED: size.n_labelled, CHUNK: config["features"]["chunk_size"], BATCH: in_batch}
    n_materials = numbers.get(materials, 1)
    if size.n_all and materials in (CHUNK, BATCH):
        n_materials = min(n_materials, size.n_all)
    return Work(
        n_materials,
        config["grid"]["size"] ** 3 * (1.0 if config["autoencoder"]["network"] == "paper" else FAST_SHARE),
        ORIENTATIONS if config["grid"]["kind"] == "window" else 1,
        LATENT_CHANNELS * config["autoencoder"]["latent_size"] ** 3,
        threads,
    )


def _regression_minutes(plan: Plan, rule: str, n_materials: int, given: Mapping[str, str]) -> int:
    if rule == "explain_regression":
        return explain_minutes(plan, given["model"], given["features"], n_materials)
    is_curve = rule in ("learn_from_fewer", "learn_network")
    sizes = [size for size in plan.learning_curve.sizes if size <= n_materials] if is_curve else [n_materials]
    return fit_minutes(plan, given["model"], given["split"], sizes)


def require_memory(n_materials: int, source: str, plan: Plan) -> None:
    """Raise InputError if a job would need more memory than ``gaussian_process.max_mem_mb`` allows.

    Parameters
    ----------
    n_materials
        Number of labelled materials.
    source
        Where they come from, for messages.
    plan
        Of the whole configuration.
    """
    settings = process_settings(plan)
    for choice in plan.evaluation.regressions:
        if not _has_process(choice.model):
            continue
        needed = fit_mem_mb(plan, choice.model, choice.features, n_materials)
        if needed > settings.max_mem_mb:
            free = settings.max_mem_mb - _fixed_mb(plan, choice.model, choice.features, n_materials, False)
            key, rows = process.most_rows(n_materials, settings, free)
            fix = f"Set it to at least {needed}" + (f", or gaussian_process.{key} to at most {rows}" if rows else "")
            problem = f"{settings.max_mem_mb}, but {choice} needs {needed} MB for the {n_materials} labels in {source}"
            raise InputError("gaussian_process.max_mem_mb", problem, fix, "memory")


def _minutes(seconds: float) -> int:
    return rounded_up(max(LEAST_MINUTES, TIME_MARGIN * seconds / 60), STEP_MINUTES)


def _has_process(model: str) -> bool:
    return GAUSSIAN_PROCESS in (model, *MODELS[model].members)


def _fixed_mb(plan: Plan, model: str, features: str, n_materials: int, on_gpu: bool) -> int:
    """Libraries and features."""
    libraries = LIBRARIES_MB + (TORCH_MB if _has_process(model) or MODELS[model].needs_gpu else 0)
    forms = [BLOCKS[block].form for block in plan.blocks(features)]
    n_latents = sum(form in (LATENT, LATENT_PCA) for form in forms)
    latent_mb = 4 * LATENT_CHANNELS * plan.config["autoencoder"]["latent_size"] ** 3 / 1e6
    per_material = MATERIAL_MB + n_latents * LATENT_COPIES * latent_mb
    return (GPU_HOST_MB if on_gpu else libraries) + math.ceil(n_materials * per_material)
