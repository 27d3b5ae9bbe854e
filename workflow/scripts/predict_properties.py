"""Predictions for all new materials by the chosen models, and the outcomes of their calculations."""

from rho2prop.core.jobs.log import job
from rho2prop.prediction.new_materials import predict_all

with job(snakemake):
    predict_all(
        snakemake.params.choices,
        snakemake.input.materials,
        list(snakemake.input.final),
        list(snakemake.input.folds),
        list(snakemake.input.get("dft", [])),
        list(snakemake.input.get("new", [])),
        snakemake.input.judged,
        snakemake.output.predictions,
        snakemake.output.outcomes,
    )
