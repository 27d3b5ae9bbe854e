"""Materials table, structures and rejected entries from a snapshot of the Materials Project."""

from rho2prop.core.jobs.log import job
from rho2prop.core.settings import read_section
from rho2prop.materials.materials_project.records import Filters, write_materials_project

with job(snakemake):
    write_materials_project(
        snakemake.input.snapshot,
        read_section(Filters, snakemake.params.filters, "materials_project"),
        snakemake.output.materials,
        snakemake.output.rejected,
        snakemake.output.properties,
        snakemake.output.structures,
    )
