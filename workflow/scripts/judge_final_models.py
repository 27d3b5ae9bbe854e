"""Are the models that predict as good as those that were tested?"""

from rho2prop.collection import write_table
from rho2prop.final_models import judge_final_models
from rho2prop.script_log import job

with job(snakemake):
    final, folds = list(snakemake.input.final), list(snakemake.input.folds)
    write_table(judge_final_models(final, folds, snakemake.params.coverage), snakemake.output.judged)
