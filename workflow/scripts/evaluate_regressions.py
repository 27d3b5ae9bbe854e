"""The metrics table: every target, model, feature set, split and fold."""

from rho2prop.collection import write_table
from rho2prop.metrics import summarise
from rho2prop.regression import collect_metrics
from rho2prop.script_log import job

with job(snakemake):
    metrics = collect_metrics(list(snakemake.input.regressions))
    write_table(metrics, snakemake.output.metrics)
    write_table(summarise(metrics), snakemake.output.summary)
