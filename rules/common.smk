# Checks of the configuration and the materials table, wildcard constraints, lists that the rules expand over.
import contextlib
import functools
import hashlib
import sys

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod
from snakemake.logging import logger
from snakemake.utils import validate

from rho2prop.densities.field_names import FIELDS, field_of
from rho2prop.evaluation.config_check import problems
from rho2prop.evaluation.earlier_version import refuse_earlier_results
from rho2prop.evaluation.plan import CHUNKS, Plan, descriptor_files, field_blocks
from rho2prop.evaluation.requests import RunSize, job_request, require_memory
from rho2prop.models.registry import models_that_need_gpu
from rho2prop.core.jobs.chunks import PATTERN, chunks_of
from rho2prop.core.jobs.code_digest import code_digest
from rho2prop.core.jobs.memory import grids_bytes
from rho2prop.core.jobs.request_record import ATTEMPT
from rho2prop.evaluation.label_check import (
    formula_and_system,
    require_any_label,
    require_groups,
    require_labels,
)
from rho2prop.core.packages import use_package_in
from rho2prop.core.settings import read_section
from rho2prop.materials.split_names import DRAWN, GIVEN
from rho2prop.materials.table import ElementalCrystals, load_materials
from rho2prop.materials.table_record import read_table_record, write_table_record
from rho2prop.core.jobs.protocol import without_machine
from rho2prop.core.jobs.running_jobs import refuse_while_local_jobs_run
from rho2prop.core.jobs.run_check import check_run
from rho2prop.core.jobs.slurm import growing, rank_resources, refuse_while_jobs_run
from rho2prop.core.jobs.table_digest import record_table, table_digest

use_package_in(ROOT)

SCRIPTS = ROOT / "workflow" / "scripts"
ENVIRONMENT = ROOT / "envs" / "rho2prop.yaml"
MATERIALS_PROJECT = "materials_project"
# folder of the run; differs only where a workflow uses this one as a module with a prefix
RESULTS = workflow.modifier.path_modifier.replace_prefix("results/")
RUN = Path(RESULTS).parent
if Path(RESULTS).name != "results":
    raise WorkflowError("module rho2prop: replace_prefix cannot be used, give a prefix")

validate(config, ROOT / "workflow" / "schemas" / "config.schema.yaml")
HAS_CONDA = DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method
if PROBLEMS := problems(config, ENVIRONMENT.read_text() if HAS_CONDA else None):
    raise WorkflowError(
        f"invalid configuration ({len(PROBLEMS)} problems):",
        *map(str, PROBLEMS),
    )

ENGINE = config["dft"]["engine"]
ELEMENTS = read_section(ElementalCrystals, config["elements"], "elements")
PLAN = Plan(config)
SPLITS = (*DRAWN, GIVEN)
PROTOCOL = without_machine(
    config
)  # for params: a change of the machine must not trigger reruns


wildcard_constraints:
    material=r"[A-Za-z0-9][A-Za-z0-9._-]*",
    element=r"[A-Z][a-z]?",
    role=r"train|predict",
    scope=rf"(({'|'.join(FIELDS[1:])})-)?(all|({'|'.join(SPLITS)})-\d+)",
    block="|".join(field_blocks()),
    chunk=PATTERN,
    field="|".join(FIELDS),
    split="|".join([*SPLITS, "all"]),
    model=r"[a-z][a-z0-9_]*",
    features=r"[a-z][a-z0-9_]*",


def of_user(path):
    """Path of the user, without the prefix that Snakemake would add inside a module."""
    return path if RUN == Path() else str(Path(path).absolute())


TABLE = {  # which may be edited during a run
    "elements": None,
    MATERIALS_PROJECT: "results/materials_project/materials.csv",
}.get(config["materials"], of_user(config["materials"]))
TABLE_DIGEST = ""
REFERENCE = config["labels"]["formation_energy_reference"]


def refusing(check, *arguments):
    """Result of a function; its InputError becomes a message without a traceback."""
    try:
        return check(*arguments)
    except ValueError as error:
        raise WorkflowError(str(error)) from None


def checked_materials(source):
    global TABLE_DIGEST
    source = source if source == "elements" else of_user(source)
    TABLE_DIGEST = refusing(table_digest, source)
    if not workflow.is_main_process and TABLE_DIGEST:
        recorded = read_table_record([TABLE_DIGEST, ENGINE, REFERENCE], RUN)
        if recorded:
            return recorded
    return refusing(load_materials, source, ELEMENTS, ENGINE, REFERENCE)


# known now for a table of the user or the embedded set; for the Materials Project once its checkpoint has run
MATERIALS = (
    None
    if config["materials"] == MATERIALS_PROJECT
    else checked_materials(config["materials"])
)


def materials():
    """All materials by id."""
    global MATERIALS
    if MATERIALS is None:
        table = checkpoints.write_materials_project.get().output.materials
        MATERIALS = checked_materials(table)
    return MATERIALS


def labelled_materials():
    """Labelled materials by id; there must be at least one."""
    return refusing(require_any_label, materials(), config["materials"])


def names(role):
    """Ids of the materials with labels ("train") or without ("predict")."""
    if role == "train":
        return list(labelled_materials())
    return [name for name, material in materials().items() if material.role == role]


def n_labelled():
    """Number of labelled materials; 0 as long as the table of the Materials Project is not known."""
    return sum(material.role == "train" for material in (MATERIALS or {}).values())


def grids_disk(wildcards):
    """Disk space of the grids of all labelled materials in one field, in MB."""
    size, precision = config["grid"]["size"], config["autoencoder"]["grid_precision"]
    return max(1000, grids_bytes(n_labelled(), size, precision) // 10**6)


@functools.cache
def run_size(is_known):
    """Numbers of materials; asked for each job."""
    return RunSize(len(MATERIALS), n_labelled()) if is_known else RunSize()


def requested(rule):
    """Resources of a rule: memory and time from the size of its work, more with each attempt."""

    def growing_amount(index):
        return lambda wildcards, attempt, threads: (
            attempt
            * job_request(
                PLAN, rule, run_size(MATERIALS is not None), threads, wildcards
            )[index]
        )

    return {
        "mem_mb": growing_amount(0),
        "runtime": growing_amount(1),
        ATTEMPT: lambda wildcards, attempt: attempt,
    }


def table_with_enough_labels(wildcards):
    """Input function: table of converged materials, after a check of its labels and groups, and of the memory they need."""
    labelled, evaluation = labelled_materials(), PLAN.evaluation
    is_embedded = config["materials"] == "elements"  # each a chemical system of its own
    group_of = (lambda path: (path, path)) if is_embedded else formula_and_system
    refusing(require_labels, labelled, config["materials"], PLAN)
    refusing(require_memory, len(labelled), config["materials"], PLAN)
    kinds, n_folds = evaluation.splits, evaluation.n_folds
    refusing(require_groups, labelled, config["materials"], kinds, n_folds, group_of)
    return "results/materials.csv"


def given_parts(wildcards):
    """Params function: part of each labelled material in the split that the table gives; none where it is not used."""
    if GIVEN not in PLAN.evaluation.splits:
        return {}
    return {name: material.split for name, material in labelled_materials().items()}


def look_at_results():
    """Check all results first: none is damaged or of an earlier version; those with an older input are computed again."""
    if workflow.is_main_process and "--unlock" not in sys.argv:
        with contextlib.chdir(RUN if RUN.is_dir() else Path()):
            refusing(refuse_earlier_results, Path("results"))
            for path in refusing(check_run):
                logger.info(
                    f"{path} is computed again: an input was replaced by an older file"
                )


def stop_while_jobs_run():
    """Refuse to start while jobs of an earlier run are active, on Slurm or here."""
    refusing(refuse_while_jobs_run, Path.cwd())
    refusing(refuse_while_local_jobs_run, Path.cwd() / RUN)
    record_table(TABLE, TABLE_DIGEST, RUN)
    if (
        MATERIALS and TABLE_DIGEST
    ):  # for jobs on nodes, each of which reads this file again
        write_table_record(MATERIALS, [TABLE_DIGEST, ENGINE, REFERENCE], RUN)


def look_at_ready_jobs_only_when_one_ends(scheduler):
    """Without a rate limit of the user's own: Snakemake's keeps looking at all ready jobs and their files every second."""
    limiter = scheduler.job_rate_limiter
    if limiter and (limiter.max_jobs, limiter.timespan) == (100, 1):  # the default
        scheduler.job_rate_limiter = None


def table_as_read(wildcards, resources):
    """Params for require_same_table; functions of `resources` do not trigger reruns."""
    return [TABLE, TABLE_DIGEST]


def code_of(*scripts):
    """Params function: digest of scripts and everything they import."""
    return lambda wildcards: code_digest(*(SCRIPTS / script for script in scripts))


def preset_digest(preset):
    """Digest of a VASP preset: one of the package by name, or a file of the user by path."""
    path = Path(preset)
    if path.suffix not in (".yaml", ".yml"):
        path = ROOT / "rho2prop" / "dft" / "presets" / f"{preset}.yaml"
    if not path.is_file():
        raise WorkflowError(
            f"dft.vasp.preset: there is no file {path}; set it to latentmatfusion or to the path of a YAML file"
        )
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def dft_folders(role):
    """Input function: DFT folders of all materials of a role."""
    return lambda wildcards: [f"results/dft/{name}" for name in names(role)]


def chunks():
    """Labelled materials by chunk."""
    return chunks_of(tuple(names("train")), config["features"]["chunk_size"])


def dft_of_chunk(wildcards):
    """Input function: DFT folders of the labelled materials of one chunk."""
    members = chunks().get(wildcards.chunk)
    if members is None:
        raise WorkflowError(
            f"{wildcards.chunk}: there is no such chunk of {config['materials']}; the chunks are {', '.join(chunks())}"
        )
    return [f"results/dft/{name}" for name in members]


def chunk_files(wildcards):
    """Input function: files of all chunks of one file of features."""
    whole = f"{CHUNKS}/{wildcards.kind}/{wildcards.name}"
    return [f"{whole}/{chunk}.{wildcards.suffix}" for chunk in chunks()]


def atom_folders(role):
    """Input function: free atoms for the atomization energies of a role; none if the table has the labels."""

    def folders(wildcards):
        if config["dft"]["atomization_energy"] != "computed":
            return []
        elements = checkpoints.list_elements.get(role=role).output.elements
        return [
            f"results/atoms/{symbol}" for symbol in Path(elements).read_text().split()
        ]

    return folders


def feature_files(wildcards):
    """Input function: files of the blocks of a feature set."""
    return PLAN.feature_files(wildcards.features, wildcards.split)


def blocks_of(wildcards):
    """Params function: blocks of a feature set; a changed definition triggers a rerun."""
    return PLAN.blocks(wildcards.features)


def settings_of(wildcards):
    """Params function: section of the configuration with the settings of a model."""
    return PLAN.settings_of(wildcards.model)
