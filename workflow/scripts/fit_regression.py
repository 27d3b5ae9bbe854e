"""One model on one feature set: all folds and targets of a split."""

from rho2prop.core.jobs.log import job
from rho2prop.evaluation.cross_validation import run
from rho2prop.features.block_files import block_data
from rho2prop.materials.collection import read_materials
from rho2prop.materials.splits import read_splits

with job(snakemake):
    materials = read_materials(snakemake.input.materials)
    run(
        snakemake.wildcards.model,
        snakemake.wildcards.features,
        snakemake.wildcards.split,
        materials,
        read_splits(snakemake.input.splits, materials["material_id"]),
        block_data(snakemake.input.get("features", [])),
        snakemake.params.settings,
        snakemake.params.latent_pca_components,
        snakemake.output.folder,
        seed=snakemake.params.seed,
        threads=snakemake.threads,
    )
