# rho2prop: crystal structures -> DFT charge densities -> predicted material properties.
# The chain, in the order of the includes; each rule file is one stage. Defaults: config.yaml.
from pathlib import Path

from snakemake.common.configfile import load_configfile
from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version, update_config

min_version("9.27")


ROOT = Path(
    str(workflow.current_basedir)
)  # not that of a workflow which uses this one as a module
if not ROOT.is_dir():
    raise WorkflowError(
        f"{ROOT}: rho2prop is used from a clone, since its rules run the package beside them"
    )


configfile: ROOT / "config.yaml"


if Path("config/config.yaml").is_file():  # of the run itself, in its folder

    configfile: "config/config.yaml"


if not workflow.modifier.is_main_snakefile():  # a module is given what differs
    DEFAULTS = load_configfile(ROOT / "config.yaml")
    update_config(DEFAULTS, config)
    config = DEFAULTS


report: "workflow/report/workflow.rst"


include: "rules/common.smk"
include: "rules/materials.smk"
include: "rules/densities.smk"
include: "rules/autoencoder.smk"
include: "rules/features.smk"
include: "rules/regression.smk"
include: "rules/prediction.smk"
include: "rules/models.smk"
include: "rules/report.smk"


look_at_results()


onstart:
    stop_while_jobs_run()
    look_at_ready_jobs_only_when_one_ends(workflow.scheduler)


rule all:
    default_target: True
    input:
        "results/report.html",
        "results/metrics.csv",
        "results/predictions.csv",
        "results/models",
        "results/latents.sqlite",
        rules.plot_figures.output,
