"""Model bundle: everything needed for predictions in one portable folder."""

from rho2prop.core.jobs.log import job
from rho2prop.prediction.bundle.writer import FinishedRun, write_bundle

with job(snakemake):
    run = FinishedRun(
        materials=snakemake.input.materials,
        features=list(snakemake.input.features),
        autoencoder=snakemake.input.autoencoder,
        final=list(snakemake.input.final),
        folds=list(snakemake.input.folds),
        intervals=snakemake.input.intervals,
        judged=snakemake.input.judged,
    )
    write_bundle(run, snakemake.params.config, snakemake.output.folder)
