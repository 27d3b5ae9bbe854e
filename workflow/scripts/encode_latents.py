"""Latents of all training materials."""

from rho2prop.collection import density_paths, read_materials
from rho2prop.encoding import encode_files, write_latents
from rho2prop.fields import field_of
from rho2prop.script_log import job

with job(snakemake):
    paths = density_paths(read_materials(snakemake.input.materials))
    field, _ = field_of(snakemake.wildcards.scope)
    latents = encode_files(snakemake.input.autoencoder, paths, snakemake.params.grid, snakemake.params.threads, field)
    write_latents(snakemake.output.latents, [name for name, _ in paths], *latents)
