"""Scores against the number of materials to learn from."""

from rho2prop.collection import write_table
from rho2prop.learning_curve import collect
from rho2prop.script_log import job

with job(snakemake):
    write_table(collect(list(snakemake.input.learned), list(snakemake.input.whole)), snakemake.output.curve)
