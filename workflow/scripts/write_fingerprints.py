"""Table block of one field for all training materials."""

from rho2prop.core.jobs.log import job
from rho2prop.features.block_files import write_block
from rho2prop.features.description import block_tables
from rho2prop.materials.collection import density_paths, read_materials

with job(snakemake):
    paths, block = density_paths(read_materials(snakemake.input.materials)), snakemake.wildcards.block
    write_block(block_tables(paths, [block], snakemake.threads)[block], snakemake.output.table)
