"""Materials table, structures and what was left out, from a snapshot of the Materials Project."""

from rho2prop.mp_records import write_materials_project
from rho2prop.script_log import job

with job(snakemake):
    write_materials_project(
        snakemake.input.snapshot,
        snakemake.params.filters,
        snakemake.output.materials,
        snakemake.output.rejected,
        snakemake.output.properties,
        snakemake.output.structures,
    )
