"""The largest errors of the first of the models that predict, with remarks."""

from rho2prop.collection import read_materials, write_table
from rho2prop.largest_errors import largest_errors
from rho2prop.script_log import job

with job(snakemake):
    materials = read_materials(snakemake.input.materials)
    table = largest_errors(list(snakemake.input.chosen), list(snakemake.input.regressions), materials)
    write_table(table, snakemake.output.errors)
