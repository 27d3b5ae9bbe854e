"""Energy of one free atom, by the engine and settings of the materials."""

from rho2prop.core.jobs.log import job
from rho2prop.dft.base import run_atom
from rho2prop.dft.deadline import job_deadline_s

with job(snakemake):
    outcome = run_atom(
        snakemake.wildcards.element,
        snakemake.params.engine,
        snakemake.params.settings | snakemake.params.machine,
        snakemake.output.folder,
        threads=snakemake.threads,
        scratch=snakemake.params.scratch,
        launch=snakemake.params.launch,
        deadline_s=job_deadline_s(),
    )
    print(outcome)
