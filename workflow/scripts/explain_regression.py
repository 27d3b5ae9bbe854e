"""SHAP share of each feature block."""

from rho2prop.core.jobs.log import job
from rho2prop.core.tables import write_table
from rho2prop.evaluation.importance import block_importance
from rho2prop.features.block_files import block_data
from rho2prop.materials.splits import read_splits

with job(snakemake):
    importance = block_importance(
        snakemake.input.regression,
        read_splits(snakemake.input.splits),
        block_data(snakemake.input.features),
        snakemake.params.seed,
    )
    write_table(importance, snakemake.output.importance)
