"""Fingerprints of one field of the training materials."""

from rho2prop.collection import density_paths, read_materials, write_block
from rho2prop.fields import field_of
from rho2prop.fingerprint import fingerprint_table
from rho2prop.script_log import job

with job(snakemake):
    paths = density_paths(read_materials(snakemake.input.materials))
    field, _ = field_of(snakemake.wildcards.fingerprint)
    write_block(fingerprint_table(paths, snakemake.threads, field), snakemake.output.fingerprint)
