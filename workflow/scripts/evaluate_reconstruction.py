"""How well densities come back, beside rivals at equal bytes."""

from rho2prop.collection import density_paths, read_materials, write_table
from rho2prop.provenance import CheckedPaths
from rho2prop.reconstruction import evaluate
from rho2prop.script_log import job

with job(snakemake, later=["dft"]):
    paths = CheckedPaths(density_paths(read_materials(snakemake.input.materials)))
    errors = evaluate(snakemake.input.autoencoder, paths, snakemake.params.grid, snakemake.threads)
    write_table(errors, snakemake.output.errors)
