"""Density and outcome of one material."""

from pathlib import Path

from rho2prop.core.jobs.log import job
from rho2prop.dft.base import Resources, engine_settings, run_material
from rho2prop.dft.deadline import job_deadline_s

with job(snakemake):
    params = snakemake.params
    outcome = run_material(
        snakemake.wildcards.material,
        snakemake.input.structure,
        str(snakemake.input.density) or None,
        params.engine,
        engine_settings(params.engine, params.settings, params.machine),
        snakemake.output.folder,
        Resources(snakemake.threads, Path(params.scratch), job_deadline_s()),
    )
    print(outcome)
