"""Densities and outcomes of several materials, one after another."""

from pathlib import Path

from tqdm import tqdm

from rho2prop.core.jobs.log import job
from rho2prop.dft.base import Resources, engine_settings, run_material

with job(snakemake):
    params, inputs = snakemake.params, snakemake.input
    settings = engine_settings(params.engine, params.settings)
    folders = tqdm(snakemake.output, desc="densities", unit="material")
    for structure, density, folder in zip(
        inputs.structures, inputs.densities or [None] * len(folders), folders, strict=True
    ):
        resources = Resources(snakemake.threads)
        print(run_material(Path(folder).name, structure, density, params.engine, settings, folder, resources))
