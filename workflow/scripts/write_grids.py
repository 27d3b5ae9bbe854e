"""Grids of a field of all training materials, in one store; an interrupted job is continued."""

from rho2prop.autoencoder.grid_store import StoreContent
from rho2prop.autoencoder.grid_writing import write_store
from rho2prop.core.jobs.log import job
from rho2prop.core.settings import read_section
from rho2prop.densities.grids import Grid
from rho2prop.materials.collection import density_paths, read_materials

with job(snakemake):
    params = snakemake.params
    content = StoreContent(snakemake.wildcards.field, read_section(Grid, params.grid, "grid"), params.precision)
    paths = density_paths(read_materials(snakemake.input.materials))
    write_store(snakemake.output.grids, paths, content, params.work, snakemake.threads)
