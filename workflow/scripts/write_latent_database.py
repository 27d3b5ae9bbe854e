"""Latent database of training and new materials, its size and reconstruction errors."""

from pathlib import Path

from rho2prop.autoencoder.latent_writing import evaluate_database, write_database
from rho2prop.core.jobs.log import job
from rho2prop.core.jobs.provenance import CheckedPaths
from rho2prop.core.tables import write_table
from rho2prop.materials.collection import DENSITY_FILE, density_paths, read_materials

with job(snakemake, updated=[snakemake.output.database]):
    # A new material whose calculation failed has no latent.
    new = [folder for folder in map(Path, snakemake.input.get("new", [])) if (folder / "all.npz").is_file()]
    densities = CheckedPaths(density_paths(read_materials(snakemake.input.materials)))
    densities.update((folder.name, Path("results/dft") / folder.name / DENSITY_FILE) for folder in new)
    latents = [snakemake.input.latents, *(folder / "all.npz" for folder in new)]
    write_database(snakemake.output.database, latents, densities, snakemake.input.autoencoder)
    write_table(
        evaluate_database(snakemake.output.database, densities, snakemake.input.autoencoder), snakemake.output.sizes
    )
