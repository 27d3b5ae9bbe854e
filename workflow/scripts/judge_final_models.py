"""Compare final models with fold models."""

from rho2prop.core.jobs.log import job
from rho2prop.core.tables import write_table
from rho2prop.evaluation.final_models import judge_final_models

with job(snakemake):
    final, folds = list(snakemake.input.final), list(snakemake.input.folds)
    write_table(judge_final_models(final, folds, snakemake.params.coverage), snakemake.output.judged)
