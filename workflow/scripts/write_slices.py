"""Slices of two test densities: original, reconstructed, difference."""

from rho2prop.collection import density_paths, read_materials
from rho2prop.provenance import CheckedPaths
from rho2prop.reconstruction import write_test_slices
from rho2prop.script_log import job

with job(snakemake, later=["dft"]):
    materials = read_materials(snakemake.input.materials)
    write_test_slices(
        snakemake.input.autoencoder,
        CheckedPaths(density_paths(materials)),
        materials.set_index("material_id")["formula"].to_dict(),
        snakemake.params.grid,
        list(snakemake.output.slices),
    )
