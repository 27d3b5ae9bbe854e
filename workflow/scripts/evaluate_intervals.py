"""Do the prediction intervals hold the stated share of held-out materials?"""

from rho2prop.collection import write_table
from rho2prop.intervals import evaluate_intervals
from rho2prop.script_log import job

with job(snakemake):
    intervals = evaluate_intervals(list(snakemake.input.folds), list(snakemake.input.final), snakemake.params.coverage)
    write_table(intervals, snakemake.output.intervals)
