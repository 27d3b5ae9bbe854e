"""Scores against the number of training materials."""

from rho2prop.core.jobs.log import job
from rho2prop.core.tables import write_table
from rho2prop.evaluation.learning_curve import collect

with job(snakemake):
    write_table(collect(list(snakemake.input.learned), list(snakemake.input.whole)), snakemake.output.curve)
