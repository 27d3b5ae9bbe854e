"""Feature blocks and latent of one new material."""

from rho2prop.core.jobs.log import job
from rho2prop.core.settings import read_section
from rho2prop.densities.grids import Grid
from rho2prop.prediction.new_materials import describe_material

with job(snakemake):
    describe_material(
        snakemake.wildcards.material,
        snakemake.input.dft,
        list(snakemake.input.autoencoders),
        snakemake.params.structure,
        snakemake.params.blocks,
        read_section(Grid, snakemake.params.grid, "grid"),
        snakemake.output.folder,
    )
