"""Table block of one field for the training materials of one chunk."""

from rho2prop.core.jobs.log import job
from rho2prop.features.block_files import write_block
from rho2prop.features.description import block_tables
from rho2prop.materials.collection import converged

with job(snakemake):
    block = snakemake.wildcards.block
    tables = block_tables(converged(snakemake.input.dft), [block], snakemake.threads)
    write_block(tables[block], snakemake.output.table)
