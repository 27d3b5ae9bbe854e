"""The self-contained HTML report."""

from rho2prop.report.render import render
from rho2prop.script_log import logged

with logged(snakemake.log[0]):
    render(snakemake.params.inputs, snakemake.params.config, snakemake.output.html)
