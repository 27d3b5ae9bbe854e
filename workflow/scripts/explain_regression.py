"""SHAP share of each feature block."""

from rho2prop.collection import block_data, write_table
from rho2prop.importance import block_importance
from rho2prop.script_log import job
from rho2prop.splits import read_splits

with job(snakemake):
    importance = block_importance(
        snakemake.input.regression,
        read_splits(snakemake.input.splits),
        block_data(snakemake.input.features),
        snakemake.params.seed,
    )
    write_table(importance, snakemake.output.importance)
