"""How well densities come back, beside rivals at equal bytes."""

from rho2prop.collection import density_paths, read_materials, write_table
from rho2prop.reconstruction import evaluate
from rho2prop.script_log import logged

with logged(snakemake.log[0]):
    paths = density_paths(read_materials(snakemake.input.materials))
    errors = evaluate(snakemake.input.autoencoder, paths, snakemake.params.grid, snakemake.threads)
    write_table(errors, snakemake.output.errors)
