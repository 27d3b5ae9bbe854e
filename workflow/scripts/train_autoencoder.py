"""The autoencoder of one scope; an interrupted training goes on from its last epoch."""

from rho2prop.autoencoder_training import scope_split, train
from rho2prop.collection import density_paths, read_materials
from rho2prop.script_log import logged

with logged(snakemake.log[0]):
    paths = density_paths(read_materials(snakemake.input.materials))
    split = scope_split(
        snakemake.wildcards.scope,
        [name for name, _ in paths],
        snakemake.input.get("splits") or None,
        snakemake.params.seed,
    )
    train(
        paths,
        split,
        snakemake.params.autoencoder,
        snakemake.params.grid,
        snakemake.output.folder,
        snakemake.params.work,
        snakemake.params.seed,
        threads=snakemake.threads,
    )
