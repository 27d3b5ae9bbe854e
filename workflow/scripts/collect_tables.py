"""Join tables that several jobs write: outcomes, importance, reconstruction."""

from rho2prop.autoencoder.reconstruction import COLUMNS as RECONSTRUCTION_COLUMNS
from rho2prop.core.jobs.log import job
from rho2prop.core.tables import join_tables
from rho2prop.dft.outcome import COLUMNS as OUTCOME_COLUMNS
from rho2prop.evaluation.importance import COLUMNS

with job(snakemake):
    join_tables(list(snakemake.input.outcomes), OUTCOME_COLUMNS, snakemake.output.outcomes)
    join_tables(list(snakemake.input.get("importance", [])), COLUMNS, snakemake.output.importance)
    join_tables(list(snakemake.input.reconstruction), RECONSTRUCTION_COLUMNS, snakemake.output.reconstruction)
