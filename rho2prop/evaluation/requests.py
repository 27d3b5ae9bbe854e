"""Memory and time that jobs of regressions request, from the number of labelled materials.

The Snakefile asks this each time it is read, also inside every cluster job, so nothing slow is imported.
"""

import math
from collections.abc import Sequence

from rho2prop.core.errors import InputError
from rho2prop.core.jobs.memory import GPU_HOST_MB
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
SAFETY = 3  # slow or shared cores
LEAST_MINUTES = 120
NETWORK_MINUTES, NETWORK_MATERIALS = 720, 6000
EXPLAINED_ROWS = 1000  # for each set of present blocks: rows times background (``rho2prop.evaluation.importance``)


def process_settings(plan: Plan) -> GaussianProcessSettings:
    """Section ``gaussian_process``."""
    settings = MODELS[GAUSSIAN_PROCESS].settings_of(plan.settings_of(GAUSSIAN_PROCESS))
    assert isinstance(settings, GaussianProcessSettings)
    return settings


def fit_mem_mb(plan: Plan, model: str, features: str, n_materials: int) -> int:
    """Memory in MB to fit a model to ``n_materials``, and to explain it."""
    fixed = _fixed_mb(plan, model, features, n_materials)
    return fixed + (process.peak_mb(n_materials, process_settings(plan)) if _has_process(model) else 0)


def fit_minutes(plan: Plan, model: str, split: str, sizes: Sequence[int]) -> int:
    """Time in minutes to fit a model on one core in all folds of a split, to each of ``sizes`` materials."""
    n_fits = 1 if split == "all" else plan.evaluation.n_folds
    if MODELS[model].needs_gpu:
        return math.ceil(NETWORK_MINUTES * max(1.0, sum(sizes) / NETWORK_MATERIALS))
    seconds = 0.0
    for member in (model, *MODELS[model].members):
        n_targets = TARGETS_LEARNED - len(MODELS[model].derived_targets)
        if member == GAUSSIAN_PROCESS:
            seconds += n_targets * n_fits * sum(process.fit_s(size, process_settings(plan)) for size in sizes)
        elif member == LIGHTGBM:
            section = plan.config[MODELS[LIGHTGBM].section]
            rounds = sum(ROUND_S + ROUND_MATERIAL_S * size for size in sizes)
            seconds += n_targets * n_fits * section["n_trials"] * section["max_rounds"] * rounds
    return max(LEAST_MINUTES, math.ceil(SAFETY * seconds / 60))


def explain_minutes(plan: Plan, model: str, features: str, n_materials: int) -> int:
    """Time in minutes for the importance of the blocks of a model in all folds of a split."""
    seconds = 0.0
    if _has_process(model):
        pairs = EXPLAINED_ROWS * process.kept_rows(n_materials, process_settings(plan))
        n_predictions = 2 ** len(plan.blocks(features)) * plan.evaluation.n_folds * TARGETS_LEARNED
        seconds = process.COVARIANCE_S * pairs * n_predictions
    return max(LEAST_MINUTES, math.ceil(SAFETY * seconds / 60))


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
            free = settings.max_mem_mb - _fixed_mb(plan, choice.model, choice.features, n_materials)
            key, rows = process.most_rows(n_materials, settings, free)
            fix = f"Set it to at least {needed}" + (f", or gaussian_process.{key} to at most {rows}" if rows else "")
            problem = f"{settings.max_mem_mb}, but {choice} needs {needed} MB for the {n_materials} labels in {source}"
            raise InputError("gaussian_process.max_mem_mb", problem, fix, "memory")


def _has_process(model: str) -> bool:
    return GAUSSIAN_PROCESS in (model, *MODELS[model].members)


def _fixed_mb(plan: Plan, model: str, features: str, n_materials: int) -> int:
    """Libraries and features."""
    libraries = LIBRARIES_MB + (TORCH_MB if _has_process(model) else 0)
    forms = [BLOCKS[block].form for block in plan.blocks(features)]
    n_latents = sum(form in (LATENT, LATENT_PCA) for form in forms)
    latent_mb = 4 * LATENT_CHANNELS * plan.config["autoencoder"]["latent_size"] ** 3 / 1e6
    per_material = MATERIAL_MB + n_latents * LATENT_COPIES * latent_mb
    return (GPU_HOST_MB if MODELS[model].needs_gpu else libraries) + math.ceil(n_materials * per_material)
