"""The self-contained HTML report."""

from rho2prop.report.render import render
from rho2prop.script_log import job
from rho2prop.table_digest import require_same_table

with job(snakemake):
    require_same_table(*snakemake.params.table)
    render(snakemake.params.inputs, snakemake.params.config, snakemake.output.html)
