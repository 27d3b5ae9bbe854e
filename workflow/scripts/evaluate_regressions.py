"""The metrics table: every target, model, feature set, split and fold."""

from rho2prop.core.jobs.log import job
from rho2prop.core.tables import write_table
from rho2prop.evaluation.fold_results import collect_metrics
from rho2prop.evaluation.metrics import summarise

with job(snakemake):
    metrics = collect_metrics(list(snakemake.input.regressions))
    write_table(metrics, snakemake.output.metrics)
    write_table(summarise(metrics), snakemake.output.summary)
