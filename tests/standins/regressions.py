"""Regressions as tests ask for them: a feature set is written as its blocks joined by ``+``."""

from rho2prop.evaluation import cross_validation
from rho2prop.evaluation.cross_validation import Regression, RegressionData
from rho2prop.features.feature_sets import NO_FEATURES
from rho2prop.models.registry import MODELS

PROCESS = dict(likelihood_rows=1500, subset_rows=1200, exact_rows=10000, inducing_rows=4000, max_mem_mb=8000)


def set_name(joined: str) -> str:
    """``magpie+latent`` to ``magpie_latent``."""
    return joined.replace("+", "_")


def block_list(joined: str) -> tuple[str, ...]:
    """``magpie+latent`` to its blocks; ``none`` to no block."""
    return () if joined == NO_FEATURES else tuple(joined.split("+"))


def regression(model, joined, split, settings, n_components=8, seed=1) -> Regression:
    """A model on blocks, with its section of the configuration."""
    chosen = MODELS[model].settings_of(settings) if model in MODELS else None
    return Regression(model, set_name(joined), block_list(joined), split, chosen, n_components, seed)


def run(model, joined, split, materials, splits, features, settings, n_components, out_dir, seed, threads=1) -> None:
    """``cross_validation.run`` on tables."""
    chosen = regression(model, joined, split, settings, n_components, seed)
    cross_validation.run(chosen, RegressionData(materials, splits, features), out_dir)
