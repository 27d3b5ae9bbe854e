"""The dated snapshot of the Materials Project that a run starts from; the only script that needs MP_API_KEY."""

from rho2prop.mp_snapshot import fetch_snapshot
from rho2prop.script_log import job

with job(snakemake):
    fetch_snapshot(snakemake.output.snapshot, snakemake.params.settings)
