"""Predictions of final models for rotated, shifted and supercell descriptions of a few crystals."""

from rho2prop.core.jobs.log import job
from rho2prop.core.jobs.provenance import CheckedPaths
from rho2prop.core.tables import write_table
from rho2prop.evaluation.invariance import evaluate, sample
from rho2prop.materials.collection import density_paths, read_materials

with job(snakemake):
    params = snakemake.params
    paths = CheckedPaths(density_paths(read_materials(snakemake.input.materials)))
    chosen = sample(list(paths), params.n_materials, params.seed)
    table = evaluate(
        list(snakemake.input.regressions),
        snakemake.input.autoencoder,
        {name: paths[name] for name in chosen},
        params.seed,
        snakemake.threads,
    )
    write_table(table, snakemake.output.invariance)
