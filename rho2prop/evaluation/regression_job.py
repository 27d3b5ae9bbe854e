"""Regressions as the jobs of Snakemake ask for them."""

from typing import Any

from rho2prop.evaluation.cross_validation import Regression, RegressionData
from rho2prop.features.block_files import block_data
from rho2prop.materials.collection import read_materials
from rho2prop.materials.splits import read_splits
from rho2prop.models.registry import MODELS


def regression_of_job(snakemake: Any) -> tuple[Regression, RegressionData]:
    """Regression and data from wildcards, params and inputs of the rules fit_regression and learn_from_fewer."""
    params, names = snakemake.params, snakemake.wildcards
    regression = Regression(
        model=names.model,
        features=names.features,
        blocks=tuple(params.blocks),
        split=names.split,
        settings=MODELS[names.model].settings_of(params.settings),
        n_components=params.latent_pca_components,
        seed=params.seed,
        threads=snakemake.threads,
    )
    materials = read_materials(snakemake.input.materials)
    splits = read_splits(snakemake.input.splits, materials["material_id"])
    return regression, RegressionData(materials, splits, block_data(snakemake.input.get("features", [])))
