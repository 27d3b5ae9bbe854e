"""Feature blocks and latent of one new material."""

from rho2prop.new_materials import describe_material
from rho2prop.script_log import job

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
