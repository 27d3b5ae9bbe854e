"""The self-contained HTML report."""

from rho2prop.core.jobs.log import job
from rho2prop.core.jobs.table_digest import require_same_table
from rho2prop.report.render import render

with job(snakemake):
    require_same_table(*snakemake.params.table)
    render(snakemake.params.inputs, snakemake.params.config, snakemake.output.html)
