"""Predictions for all new materials by the final models, and the outcomes of their calculations."""

from rho2prop.core.jobs.log import job
from rho2prop.evaluation.settings import choices
from rho2prop.prediction.new_materials import PredictionFiles, predict_all

with job(snakemake):
    given = snakemake.input
    files = PredictionFiles(
        materials=given.materials,
        final=list(given.final),
        folds=list(given.folds),
        dft=list(given.get("dft", [])),
        new=list(given.get("new", [])),
        judged=given.judged,
    )
    predict_all(choices(snakemake.params.choices), files, snakemake.output.predictions, snakemake.output.outcomes)
