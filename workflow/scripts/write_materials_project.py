"""Materials table, structures and what was left out, from a snapshot of the Materials Project."""

from rho2prop.mp_records import write_materials_project
from rho2prop.script_log import logged

with logged(snakemake.log[0]):
    write_materials_project(
        snakemake.input.snapshot,
        snakemake.params.filters,
        snakemake.output.materials,
        snakemake.output.rejected,
        snakemake.output.properties,
        snakemake.output.structures,
    )
