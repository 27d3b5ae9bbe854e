"""The metrics table: every target, model, feature set, split and fold."""

from rho2prop.collection import write_table
from rho2prop.regression import collect_metrics
from rho2prop.script_log import logged

with logged(snakemake.log[0]):
    write_table(collect_metrics(list(snakemake.input.regressions)), snakemake.output.metrics)
