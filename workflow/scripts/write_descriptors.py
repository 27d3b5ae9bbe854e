"""Composition and structure blocks of the training materials of one chunk."""

from rho2prop.core.jobs.log import job
from rho2prop.features.block_files import write_block
from rho2prop.features.description import block_tables
from rho2prop.materials.collection import converged

with job(snakemake):
    wanted = dict(snakemake.output.items())
    for block, table in block_tables(converged(snakemake.input.dft), wanted).items():
        write_block(table, wanted[block])
