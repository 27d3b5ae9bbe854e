"""Slices of two test densities: original, reconstructed, and their difference."""

from rho2prop.autoencoder.reconstruction import write_test_slices
from rho2prop.core.jobs.log import job
from rho2prop.core.jobs.provenance import CheckedPaths
from rho2prop.core.settings import read_section
from rho2prop.densities.grids import Grid
from rho2prop.materials.collection import density_paths, read_materials

with job(snakemake):
    materials = read_materials(snakemake.input.materials)
    write_test_slices(
        snakemake.input.autoencoder,
        CheckedPaths(density_paths(materials)),
        materials.set_index("material_id")["formula"].to_dict(),
        read_section(Grid, snakemake.params.grid, "grid"),
        list(snakemake.output.slices),
    )
