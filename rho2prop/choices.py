"""What a run may choose: models, the feature blocks that each reads, and the settings that go together.

The Snakefile checks the whole configuration against this each time it is read, also inside every cluster job, so
nothing is imported here that takes time.
"""

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec

from rho2prop.errors import InputError
from rho2prop.models import ATTENTION_CNN, GRAPH_NETWORK, MULTISCALE_CNN

TOTAL, SUPERPOSITION, DIFFERENCE, OCCUPANCY = "total", "superposition", "difference", "occupancy"
FIELDS = (TOTAL, SUPERPOSITION, DIFFERENCE, OCCUPANCY)

NO_FEATURES, LATENT, LATENT_PCA, GRAPH, FINGERPRINT = "none", "latent", "latent_pca", "graph", "fingerprint"
COMPOSITION, COHESION = "composition", "cohesion"
COMPOSITION_BLOCKS = ("magpie", COMPOSITION, COHESION)
STRUCTURE_BLOCKS = ("elements", "structure", "springs")


def block_name(field: str, sort: str) -> str:
    """``difference`` and ``latent`` to ``difference_latent``; blocks of the total density are named without it."""
    return sort if field == TOTAL else f"{field}_{sort}"


FINGERPRINTS = tuple(block_name(field, FINGERPRINT) for field in FIELDS)
TABLE_BLOCKS = (*COMPOSITION_BLOCKS, *STRUCTURE_BLOCKS, *FINGERPRINTS)
BLOCKS = (*TABLE_BLOCKS, *(block_name(field, sort) for sort in (LATENT, LATENT_PCA) for field in FIELDS), GRAPH)
BUNDLE_BLOCKS = (*TABLE_BLOCKS, LATENT, LATENT_PCA)  # of a new density: a run has one final autoencoder that travels
TABLE = "table"  # sort of a block with one row per material

MEAN, LIGHTGBM, PROCESS, BLEND = "mean", "lightgbm", "gaussian_process", "blend"
SINGLE_TASK = "multiscale_cnn_single"  # one network for each target instead of one for all
LEAST_LABELS = 10  # of a property, over the whole table
LEAST_TRAIN_LABELS = 5  # of a property, in each fold
LEAST_NETWORK_ROWS = 2  # to validate a network by
MULTISCALE_HEADS = 4  # of the self-attention of the multi-scale CNN: its width must be a multiple
ATOM_ENGINES = ("gpaw", "vasp")  # compute densities of any structure, and free atoms


@dataclass(frozen=True)
class Model:
    """A family of models.

    Parameters
    ----------
    reads
        Sorts of blocks that it takes.
    section
        Section of the configuration that it is fitted with; empty for none.
    is_network
        Trained on a GPU where there is one.
    package
        Python package that it needs beside the requirements; empty for none.
    """

    reads: tuple[str, ...]
    section: str = ""
    is_network: bool = False
    package: str = ""

    @property
    def least_validation_labels(self) -> int:
        """Labelled rows that the validation part of each fold must have."""
        return LEAST_NETWORK_ROWS if self.is_network else 1

    @property
    def tells_blocks_apart(self) -> bool:
        """Whether the importance of each block can be told; blocks of densities alone share their channels."""
        return TABLE in self.reads


MODELS = {
    MEAN: Model(()),
    LIGHTGBM: Model((TABLE, LATENT_PCA), LIGHTGBM),
    PROCESS: Model((TABLE, LATENT_PCA)),
    BLEND: Model((TABLE, LATENT_PCA), LIGHTGBM),
    ATTENTION_CNN: Model((TABLE, LATENT_PCA, LATENT), ATTENTION_CNN, is_network=True),
    MULTISCALE_CNN: Model((LATENT,), ATTENTION_CNN, is_network=True),
    SINGLE_TASK: Model((LATENT,), ATTENTION_CNN, is_network=True),
    GRAPH_NETWORK: Model((GRAPH,), GRAPH_NETWORK, is_network=True, package="alignn"),
}
NETWORKS = tuple(name for name, model in MODELS.items() if model.is_network)
OTHERS = tuple(name for name in MODELS if name not in NETWORKS)
FITTING_CODE = (  # modules of the package that a fitted model comes from
    "blocks.py", "boosting.py", "choices.py", "families.py", "gaussian_process.py", "network_training.py",
    "regression.py", "models",
)  # fmt: skip


def field_of(name: str) -> tuple[str, str]:
    """Field and rest of the name of a block (``difference_latent``) or of an autoencoder (``difference-all``)."""
    for field in FIELDS[1:]:
        for mark in "_-":
            if name.startswith(field + mark):
                return field, name.removeprefix(field + mark)
    return TOTAL, name


def sort_of(block: str) -> str:
    """``table``, ``latent``, ``latent_pca`` or ``graph``."""
    return TABLE if block in TABLE_BLOCKS else field_of(block)[1]


def needs_atoms(block: str) -> bool:
    """Whether a block can be made only of a density that is stored with its superposition of atoms."""
    return field_of(block)[0] in (SUPERPOSITION, DIFFERENCE)


def block_names(features: str) -> list[str]:
    """``magpie+latent_pca`` to its blocks; ``none`` to no block."""
    return [] if features == NO_FEATURES else features.split("+")


def suggestion(name: str, known: Iterable[str]) -> str:
    """What to choose instead of an unknown name: the closest of the known ones, then all of them."""
    known = {choice.lower(): choice for choice in known}
    close = difflib.get_close_matches(name.lower(), known, 1)
    return (f"Did you mean {known[close[0]]!r}? " if close else "") + f"Known: {', '.join(known.values())}"


def check(model: str, blocks: list[str], place: str = "evaluation.regressions") -> None:
    """Whether a family takes these feature blocks; InputError says what to change.

    Parameters
    ----------
    model
        Name of the family.
    blocks
        Names of the blocks; none for the mean.
    place
        Key of the configuration that chose them.
    """
    if model not in MODELS:
        raise InputError(place, f"unknown model {model!r}", suggestion(model, MODELS))
    for block in blocks:
        if block not in BLOCKS:
            raise InputError(place, f"{model}: unknown feature block {block!r}", suggestion(block, BLOCKS))
    problem = f"{model} with the features {'+'.join(blocks) or NO_FEATURES!r}"
    if len(set(blocks)) < len(blocks):
        raise InputError(place, f"{problem}: a block appears twice", "Name each block once")
    if (model == MEAN) != (not blocks):
        mend = f'The mean takes the features "{NO_FEATURES}", every other model at least one block'
        raise InputError(place, problem, mend)
    if blocks == [COHESION]:
        mend = "Add blocks to learn from, such as magpie+cohesion"
        raise InputError(place, f"{problem}: this block is the zero of formation energies and no feature", mend)
    wrong = [block for block in blocks if sort_of(block) not in MODELS[model].reads]
    if wrong:
        raise InputError(place, f"{problem}: it cannot read {wrong[0]!r}", _readable(model, wrong[0]))
    if model == GRAPH_NETWORK and len(blocks) > 1:
        raise InputError(place, problem, f"It takes the one block {GRAPH}")


def _readable(model: str, block: str) -> str:
    reads = MODELS[model].reads
    if sort_of(block) == LATENT and LATENT_PCA in reads:
        return f"Use {block}_pca, or a network"
    if reads == (LATENT,):
        return "It reads densities only: give it latent, or that of another field such as difference_latent"
    if reads == (GRAPH,):
        return f"It takes the one block {GRAPH}"
    return "Choose among " + ", ".join(block for block in BLOCKS if sort_of(block) in reads)


def least_labels(model: str, n_folds: int, validation_fraction: float) -> int:
    """Fewest labelled materials of which a model can be trained in each fold, with random folds (others need more)."""
    n = max(LEAST_LABELS, n_folds)
    while not _is_enough(n - math.ceil(n / n_folds), validation_fraction, MODELS[model].least_validation_labels):
        n += 1
    return n


def _is_enough(n_remaining: int, validation_fraction: float, least_validation: int) -> bool:
    n_validation = max(1, round(validation_fraction * n_remaining))
    return n_validation >= least_validation and n_remaining - n_validation >= LEAST_TRAIN_LABELS


def problems(config: dict, environment: str | None = None) -> list[InputError]:
    """All that is wrong with a configuration that its schema accepts: choices that could only fail later.

    Parameters
    ----------
    config
        The whole configuration.
    environment
        Text of the conda file that jobs get their software from; None where they run with that of this process.
    """
    found = [*_regressions(config), *_chosen(config), *_densities(config), *_sizes(config), *_ranges(config)]
    used = {model for model, sets in config["evaluation"]["regressions"].items() if sets}
    for model in sorted(used & set(MODELS)):
        package = MODELS[model].package
        is_there = not package or (f"{package}==" in environment if environment else find_spec(package) is not None)
        if not is_there:
            how = "list them in envs/rho2prop.yaml" if environment else "pip install -r requirements-graph.txt"
            mend = f"Add those of requirements-graph.txt ({how}), or take the model out"
            found.append(InputError(f"evaluation.regressions.{model}", f"its package {package} is not installed", mend))
    return found


def _regressions(config: dict) -> Iterable[InputError]:
    for model, sets in config["evaluation"]["regressions"].items():
        place = f"evaluation.regressions.{model}"
        yield from _checked((model, features, place) for features in sets)
        yield from _repeated(place, sets)
        if model not in MODELS and not sets:
            yield InputError(place, f"unknown model {model!r}", suggestion(model, MODELS))


def _chosen(config: dict) -> Iterable[InputError]:
    """Models that are chosen elsewhere from those that are evaluated."""
    evaluated = [
        f"{model} on {features}" for model, sets in config["evaluation"]["regressions"].items() for features in sets
    ]
    sections = {
        "predict": config["predict"],
        "learning_curve.models": config["learning_curve"]["models"],
        "robustness.models": config["robustness"]["models"],
    }
    for place, choices in sections.items():
        names = [f"{choice['model']} on {choice['features']}" for choice in choices]
        yield from _repeated(place, names)
        for choice, name in zip(choices, names, strict=True):
            wrong = list(_checked([(choice["model"], choice["features"], place)]))
            yield from wrong
            if wrong:
                continue
            unmade = [block for block in block_names(choice["features"]) if block not in BUNDLE_BLOCKS]
            if place != "learning_curve.models" and (unmade or choice["model"] == MEAN):
                what = f"the block {unmade[0]!r}" if unmade else "the mean"
                problem = f"{name}: {what} can be evaluated only, not applied to another density"
                yield InputError(place, problem, f"Choose features among {', '.join(BUNDLE_BLOCKS)}")
            elif place == "learning_curve.models" and choice["model"] == MEAN:
                yield InputError(place, f"{name}: the mean learns from no feature", "Take it out")
            elif place != "robustness.models" and name not in evaluated:
                mend = f"Add it to evaluation.regressions. {suggestion(name, evaluated)}"
                yield InputError(place, f"{name} is not evaluated", mend)


def _densities(config: dict) -> Iterable[InputError]:
    """Where densities come from, and what they are stored with."""
    dft, engine, source = config["dft"], config["dft"]["engine"], config["materials"]
    if source == "elements" and engine not in ATOM_ENGINES:
        mend = f"Set dft.engine to {' or '.join(ATOM_ENGINES)}, or name a table of your own"
        yield InputError("materials", f"the embedded elements have no densities for the engine {engine}", mend)
    if source == "materials_project" and engine == "files":
        mend = "Choose another engine, or name a table with the column density"
        yield InputError("materials", "the Materials Project's table names no density files, engine files", mend)
    if dft["formation_energy"] == "computed" and engine not in ATOM_ENGINES:
        mend = f"Set it to table, or dft.engine to {' or '.join(ATOM_ENGINES)}"
        yield InputError("dft.formation_energy", f"engine {engine} computes no free atoms", mend)
    files = dft["files"]
    if engine == "files" and files["superposition"] == "gpaw" and files["kind"] != "valence":
        problem = f"GPAW's atoms are no superposition of densities of the kind {files['kind']}"
        yield InputError("dft.files.superposition", problem, "Set it to as_given")
    if _superposition(dft):
        return
    fields = [field for field in config["autoencoder"]["compared_fields"] if needs_atoms(f"{field}_{LATENT}")]
    places = {"autoencoder.compared_fields": fields}
    for model, sets in config["evaluation"]["regressions"].items():
        places[f"evaluation.regressions.{model}"] = sorted({b for f in sets for b in block_names(f) if needs_atoms(b)})
    for place, choices in (("predict", config["predict"]), ("robustness.models", config["robustness"]["models"])):
        places[place] = sorted({b for c in choices for b in block_names(c["features"]) if needs_atoms(b)})
    for place, names in places.items():
        if names:
            problem = f"{', '.join(names)} cannot be made: engine {engine} stores no superposition of atoms"
            can = "superposition" in dft[engine]
            mend = f"Set dft.{engine}.superposition: true, or take them out" if can else "Take them out"
            yield InputError(place, problem, mend)


def _superposition(dft: dict) -> bool:
    """Whether densities are stored with their superposition of atoms, or may be (files of the user)."""
    return dft["engine"] == "files" or dft[dft["engine"]].get("superposition", False)


def _sizes(config: dict) -> Iterable[InputError]:
    grid, latent = config["grid"]["size"], config["autoencoder"]["latent_size"]
    if grid < 2 * latent:
        problem = f"{latent}, but grid.size is {grid}: at least twice the latent's size is needed"
        yield InputError("autoencoder.latent_size", problem, "Change one of the two")
    regressions = config["evaluation"]["regressions"]
    width = config["attention_cnn"]["channels"][-1]
    if (regressions.get(MULTISCALE_CNN) or regressions.get(SINGLE_TASK)) and width % MULTISCALE_HEADS:
        problem = f"the last is {width}; the multi-scale CNN needs a multiple of {MULTISCALE_HEADS}"
        yield InputError("attention_cnn.channels", problem, "Change it or take the multi-scale CNN out")
    fraction = config["evaluation"]["validation_fraction"]
    for choice in config["learning_curve"]["models"]:
        least = MODELS[choice["model"]].least_validation_labels if choice["model"] in MODELS else 1
        small = [size for size in config["learning_curve"]["sizes"] if not _is_enough(size, fraction, least)]
        if small:
            enough = next(n for n in range(small[0], 10**6) if _is_enough(n, fraction, least))
            problem = f"{small[0]} materials are too few to train and validate {choice['model']} with"
            yield InputError("learning_curve.sizes", problem, f"Give at least {enough}")


def _ranges(config: dict) -> Iterable[InputError]:
    source = config["materials_project"]
    ranges = {
        f"materials_project.{key}": source[key] for key in ("n_elements", "bulk_modulus_gpa", "shear_modulus_gpa")
    }
    for place, (least, most) in (ranges | {"lightgbm.learning_rate": config["lightgbm"]["learning_rate"]}).items():
        if least > most:
            yield InputError(place, f"[{least}, {most}] holds nothing", f"Write it as [{most}, {least}]")
    both = sorted({*source["elements"]} & {*source["exclude_elements"]})
    if both:
        problem = f"{', '.join(both)} is wanted and excluded at once"
        yield InputError("materials_project.exclude_elements", problem, "Delete it from one of the two lists")


def _checked(choices: Iterable[tuple[str, str, str]]) -> Iterable[InputError]:
    for model, features, place in choices:
        try:
            check(model, block_names(features), place)
        except InputError as error:
            yield error


def _repeated(place: str, names: list[str]) -> Iterable[InputError]:
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield InputError(place, f"{name} appears {names.count(name)} times", "Name it once")
