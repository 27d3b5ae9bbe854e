"""The main figures as files, for `snakemake --report`."""

from pathlib import Path

from rho2prop.report.render import save_figures
from rho2prop.script_log import job

with job(snakemake):
    save_figures(snakemake.params.inputs, snakemake.params.config, Path(snakemake.output[0]).parent)
