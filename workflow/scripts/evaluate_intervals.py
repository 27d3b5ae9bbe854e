"""Coverage of the prediction intervals on held-out materials."""

from rho2prop.core.jobs.log import job
from rho2prop.core.tables import write_table
from rho2prop.evaluation.intervals import evaluate_intervals

with job(snakemake):
    intervals = evaluate_intervals(list(snakemake.input.folds), list(snakemake.input.final), snakemake.params.coverage)
    write_table(intervals, snakemake.output.intervals)
