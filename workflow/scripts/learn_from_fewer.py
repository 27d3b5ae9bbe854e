"""One model on one feature set, learning from fewer materials."""

from rho2prop.collection import block_data, read_materials
from rho2prop.learning_curve import learn
from rho2prop.script_log import job
from rho2prop.splits import read_splits

with job(snakemake):
    materials = read_materials(snakemake.input.materials)
    learn(
        snakemake.wildcards.model,
        snakemake.wildcards.features,
        snakemake.wildcards.split,
        snakemake.params.sizes,
        materials,
        read_splits(snakemake.input.splits, materials["material_id"]),
        block_data(snakemake.input.get("features", [])),
        snakemake.params.settings,
        snakemake.params.latent_pca_components,
        snakemake.output.folder,
        seed=snakemake.params.seed,
        threads=snakemake.threads,
    )
