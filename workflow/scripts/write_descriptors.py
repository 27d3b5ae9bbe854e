"""Composition and structure blocks of the training materials."""

from rho2prop.core.jobs.log import job
from rho2prop.features.block_files import write_block
from rho2prop.features.description import block_tables
from rho2prop.materials.collection import density_paths, read_materials

with job(snakemake):
    paths = density_paths(read_materials(snakemake.input.materials))
    wanted = dict(snakemake.output.items())
    for block, table in block_tables(paths, wanted).items():
        write_block(table, wanted[block])
