"""One model on one feature set, trained on fewer materials."""

from rho2prop.core.jobs.log import job
from rho2prop.evaluation.learning_curve import learn
from rho2prop.evaluation.regression_job import regression_of_job

with job(snakemake):
    regression, data = regression_of_job(snakemake)
    learn(regression, data, snakemake.params.sizes, snakemake.output.folder)
