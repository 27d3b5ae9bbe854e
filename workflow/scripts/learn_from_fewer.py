"""One model on one feature set, trained on fewer materials."""

from rho2prop.core.jobs.log import job
from rho2prop.evaluation.cross_validation import Regression, RegressionData
from rho2prop.evaluation.learning_curve import learn
from rho2prop.features.block_files import block_data
from rho2prop.materials.collection import read_materials
from rho2prop.materials.splits import read_splits
from rho2prop.models.registry import MODELS

with job(snakemake):
    params, names = snakemake.params, snakemake.wildcards
    materials = read_materials(snakemake.input.materials)
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
    splits = read_splits(snakemake.input.splits, materials["material_id"])
    data = RegressionData(materials, splits, block_data(snakemake.input.get("features", [])))
    learn(regression, data, params.sizes, snakemake.output.folder)
