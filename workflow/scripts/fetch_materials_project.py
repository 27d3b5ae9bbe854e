"""The dated snapshot of the Materials Project that a run starts from; the only script that needs MP_API_KEY."""

from rho2prop.core.jobs.log import job
from rho2prop.core.settings import read_section
from rho2prop.materials.materials_project.snapshot import Download, fetch_snapshot

with job(snakemake):
    settings = read_section(Download, snakemake.params.settings, "materials_project")
    fetch_snapshot(snakemake.output.snapshot, settings, snakemake.params.all_materials)
