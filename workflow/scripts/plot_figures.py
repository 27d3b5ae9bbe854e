"""The main figures as files, for `snakemake --report`."""

from pathlib import Path

from rho2prop.core.jobs.log import job
from rho2prop.report.render import save_figures

with job(snakemake):
    save_figures(snakemake.params.inputs, snakemake.params.config, Path(snakemake.output[0]).parent)
