"""Latents of the training materials of one chunk."""

from rho2prop.autoencoder.encoding import encode_files, write_latents
from rho2prop.core.jobs.log import job
from rho2prop.core.settings import read_section
from rho2prop.densities.field_names import field_of
from rho2prop.densities.grids import Grid
from rho2prop.materials.collection import converged

with job(snakemake):
    paths = converged(snakemake.input.dft)
    field, _ = field_of(snakemake.wildcards.scope)
    latents = encode_files(
        snakemake.input.autoencoder,
        paths,
        read_section(Grid, snakemake.params.grid, "grid"),
        snakemake.params.threads,
        field,
    )
    write_latents(snakemake.output.latents, [name for name, _ in paths], *latents)
