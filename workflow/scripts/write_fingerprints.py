"""Fingerprints of one field of the training materials."""

from rho2prop.core.jobs.log import job
from rho2prop.densities.field_names import field_of
from rho2prop.features.block_files import write_block
from rho2prop.features.fingerprint import fingerprint_table
from rho2prop.materials.collection import density_paths, read_materials

with job(snakemake):
    paths = density_paths(read_materials(snakemake.input.materials))
    field, _ = field_of(snakemake.wildcards.fingerprint)
    write_block(fingerprint_table(paths, snakemake.threads, field), snakemake.output.fingerprint)
