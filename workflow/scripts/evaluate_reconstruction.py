"""Reconstruction errors of the autoencoder and of other compressors at equal bytes."""

from rho2prop.autoencoder.reconstruction import evaluate
from rho2prop.core.jobs.log import job
from rho2prop.core.jobs.provenance import CheckedPaths
from rho2prop.core.settings import read_section
from rho2prop.core.tables import write_table
from rho2prop.densities.grids import Grid
from rho2prop.materials.collection import density_paths, read_materials

with job(snakemake):
    paths = CheckedPaths(density_paths(read_materials(snakemake.input.materials)))
    errors = evaluate(
        snakemake.input.autoencoder, paths, read_section(Grid, snakemake.params.grid, "grid"), snakemake.threads
    )
    write_table(errors, snakemake.output.errors)
