"""The metrics table: every target, model, feature set, split and fold."""

from rho2prop.collection import write_table
from rho2prop.metrics import summarise
from rho2prop.regression import collect_metrics
from rho2prop.script_log import logged

with logged(snakemake.log[0]):
    metrics = collect_metrics(list(snakemake.input.regressions))
    write_table(metrics, snakemake.output.metrics)
    write_table(summarise(metrics), snakemake.output.summary)
