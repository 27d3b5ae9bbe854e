"""Largest errors of the first trained model under predict, with remarks."""

from rho2prop.core.jobs.log import job
from rho2prop.core.tables import write_table
from rho2prop.evaluation.largest_errors import largest_errors
from rho2prop.materials.collection import read_materials

with job(snakemake):
    materials = read_materials(snakemake.input.materials)
    table = largest_errors(list(snakemake.input.chosen), list(snakemake.input.regressions), materials)
    write_table(table, snakemake.output.errors)
