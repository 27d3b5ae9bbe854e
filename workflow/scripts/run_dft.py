"""Density and outcome of one material."""

from rho2prop.core.jobs.log import job
from rho2prop.dft.base import run_material
from rho2prop.dft.deadline import job_deadline_s

with job(snakemake):
    outcome = run_material(
        snakemake.wildcards.material,
        snakemake.input.structure,
        str(snakemake.input.density) or None,
        snakemake.params.engine,
        snakemake.params.settings | snakemake.params.machine,
        snakemake.output.folder,
        threads=snakemake.threads,
        scratch=snakemake.params.scratch,
        launch=snakemake.params.launch,
        deadline_s=job_deadline_s(),
    )
    print(outcome)
