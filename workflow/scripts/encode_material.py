"""Feature blocks and latent of one new material."""

from rho2prop.core.jobs.log import job
from rho2prop.prediction.new_materials import describe_material

with job(snakemake):
    describe_material(
        snakemake.wildcards.material,
        snakemake.input.dft,
        list(snakemake.input.autoencoders),
        snakemake.params.structure,
        snakemake.params.blocks,
        snakemake.params.grid,
        snakemake.output.folder,
    )
