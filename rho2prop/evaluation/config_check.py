"""All that is wrong with a configuration that its schema accepts.

The Snakefile checks the whole configuration each time it is read, also inside every cluster job, so nothing is imported
here that takes time.
"""

from collections.abc import Iterable
from importlib.util import find_spec

from rho2prop.core.errors import InputError, suggestion
from rho2prop.dft.registry import ATOM_ENGINES
from rho2prop.features.registry import BUNDLE_BLOCKS, LATENT, block_names, needs_atoms
from rho2prop.models.registry import MEAN, MODELS, MULTISCALE_CNN, MULTISCALE_HEADS, SINGLE_TASK, check, is_enough


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
            fix = f"Add those of requirements-graph.txt ({how}), or take the model out"
            found.append(InputError(f"evaluation.regressions.{model}", f"its package {package} is not installed", fix))
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
        "invariance.models": config["invariance"]["models"],
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
            elif place != "invariance.models" and name not in evaluated:
                fix = f"Add it to evaluation.regressions. {suggestion(name, evaluated)}"
                yield InputError(place, f"{name} is not evaluated", fix)


def _densities(config: dict) -> Iterable[InputError]:
    """Where densities come from, and what they are stored with."""
    dft, engine, source = config["dft"], config["dft"]["engine"], config["materials"]
    if source == "elements" and engine not in ATOM_ENGINES:
        fix = f"Set dft.engine to {' or '.join(ATOM_ENGINES)}, or name a table of your own"
        yield InputError("materials", f"the embedded elements have no densities for the engine {engine}", fix)
    if source == "materials_project" and engine == "files":
        fix = "Choose another engine, or name a table with the column density"
        yield InputError("materials", "the Materials Project's table names no density files, engine files", fix)
    if dft["formation_energy"] == "computed" and engine not in ATOM_ENGINES:
        fix = f"Set it to table, or dft.engine to {' or '.join(ATOM_ENGINES)}"
        yield InputError("dft.formation_energy", f"engine {engine} computes no free atoms", fix)
    files = dft["files"]
    if engine == "files" and files["promolecule"] == "gpaw" and files["kind"] != "valence":
        problem = f"GPAW's atoms are no superposition of densities of the kind {files['kind']}"
        yield InputError("dft.files.promolecule", problem, "Set it to as_given")
    if _promolecule(dft):
        return
    fields = [field for field in config["autoencoder"]["compared_fields"] if needs_atoms(f"{field}_{LATENT}")]
    places = {"autoencoder.compared_fields": fields}
    for model, sets in config["evaluation"]["regressions"].items():
        places[f"evaluation.regressions.{model}"] = sorted({b for f in sets for b in block_names(f) if needs_atoms(b)})
    for place, choices in (("predict", config["predict"]), ("invariance.models", config["invariance"]["models"])):
        places[place] = sorted({b for c in choices for b in block_names(c["features"]) if needs_atoms(b)})
    for place, names in places.items():
        if names:
            problem = f"{', '.join(names)} cannot be made: engine {engine} stores no superposition of atoms"
            can = "promolecule" in dft[engine]
            fix = f"Set dft.{engine}.promolecule: true, or take them out" if can else "Take them out"
            yield InputError(place, problem, fix)


def _promolecule(dft: dict) -> bool:
    """Whether densities are stored with their superposition of atoms, or may be (files of the user)."""
    return dft["engine"] == "files" or dft[dft["engine"]].get("promolecule", False)


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
        small = [size for size in config["learning_curve"]["sizes"] if not is_enough(size, fraction, least)]
        if small:
            enough = next(n for n in range(small[0], 10**6) if is_enough(n, fraction, least))
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
