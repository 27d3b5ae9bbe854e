"""One model on one feature set: all folds and targets of a split."""

from rho2prop.core.jobs.log import job
from rho2prop.evaluation.cross_validation import run
from rho2prop.evaluation.regression_job import regression_of_job

with job(snakemake):
    regression, data = regression_of_job(snakemake)
    run(regression, data, snakemake.output.folder)
