"""Energy of one free atom with the engine and settings of the materials."""

from pathlib import Path

from rho2prop.core.jobs.log import job
from rho2prop.dft.base import Resources, engine_settings, run_atom
from rho2prop.dft.deadline import job_deadline_s

with job(snakemake):
    params = snakemake.params
    outcome = run_atom(
        snakemake.wildcards.element,
        params.engine,
        engine_settings(params.engine, params.settings, params.machine),
        snakemake.output.folder,
        Resources(snakemake.threads, Path(params.scratch), job_deadline_s()),
    )
    print(outcome)
