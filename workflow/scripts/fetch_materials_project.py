"""The dated snapshot of the Materials Project that a run starts from; the only script that needs MP_API_KEY."""

from rho2prop.core.jobs.log import job
from rho2prop.materials.materials_project.snapshot import fetch_snapshot

with job(snakemake):
    fetch_snapshot(snakemake.output.snapshot, snakemake.params.settings)
