"""Checks of a configuration beyond its schema.

The Snakefile checks the whole configuration each time it is read, also inside every cluster job, so nothing is imported
here that takes time.
"""

from collections.abc import Iterable

from rho2prop.core.errors import InputError, suggestion
from rho2prop.core.packages import is_installed
from rho2prop.densities.field_names import DEFORMATION, PROMOLECULE
from rho2prop.dft.registry import ATOM_ENGINES, COMPUTING_ENGINES
from rho2prop.evaluation.plan import Plan
from rho2prop.evaluation.settings import Choice
from rho2prop.features import feature_sets
from rho2prop.features.registry import BLOCKS, LATENT, blocks_that
from rho2prop.materials.split_names import DRAWN, GIVEN
from rho2prop.models.registry import MODELS, check, is_enough


def problems(config: dict, environment: str | None = None) -> list[InputError]:
    """Problems of a configuration that its schema accepts but that would fail later.

    Parameters
    ----------
    config
        The whole configuration.
    environment
        Text of the conda file that jobs get their software from; None where they run with that of this process.
    """
    plan = Plan(config)
    found = [*feature_sets.problems(config[feature_sets.SECTION]), *_regressions(plan), *_chosen(plan)]
    found += [*_densities(plan), *_sizes(plan), *_ranges(config), *_splits(plan)]
    used = {choice.model for choice in plan.evaluation.regressions}
    for model in sorted(used & set(MODELS)):
        package = MODELS[model].package
        is_there = not package or (f"{package}==" in environment if environment else is_installed(package))
        if not is_there:
            how = "list them in envs/rho2prop.yaml" if environment else "pip install -r requirements-graph.txt"
            fix = f"Add those of requirements-graph.txt ({how}), or remove the model"
            found.append(InputError(f"evaluation.regressions.{model}", f"its package {package} is not installed", fix))
    return found


def _regressions(plan: Plan) -> Iterable[InputError]:
    for model, names in plan.config["evaluation"]["regressions"].items():
        place = f"evaluation.regressions.{model}"
        yield from _checked(plan, [Choice(model, name) for name in names], place)
        yield from _repeated(place, names)
        if model not in MODELS and not names:
            yield InputError(place, f"unknown model {model!r}", suggestion(model, MODELS))


def _chosen(plan: Plan) -> Iterable[InputError]:
    """Problems of models that are selected elsewhere from those evaluated."""
    evaluated = [str(choice) for choice in plan.evaluation.regressions]
    sections = {
        "predict": plan.predict,
        "learning_curve.models": plan.learning_curve.models,
        "invariance.models": plan.invariance.models,
    }
    for place, choices in sections.items():
        yield from _repeated(place, [str(choice) for choice in choices])
        for choice in choices:
            wrong = list(_checked(plan, [choice], place))
            yield from wrong
            if wrong or choice.features not in plan.feature_sets:  # the set has a problem of its own
                continue
            blocks, accepts = plan.blocks(choice.features), MODELS[choice.model].accepts
            unmade = [block for block in blocks if not BLOCKS[block].travels]
            if place != "learning_curve.models" and (unmade or not accepts):
                what = f"the block {unmade[0]!r}" if unmade else "the mean"
                problem = f"{choice}: {what} can only be evaluated, not applied to another density"
                fix = f"Choose features among {', '.join(blocks_that(lambda block: block.travels))}"
                yield InputError(place, problem, fix)
            elif place == "learning_curve.models" and not accepts:
                yield InputError(place, f"{choice}: the mean uses no features", "Remove it")
            elif place != "invariance.models" and str(choice) not in evaluated:
                fix = f"Add it to evaluation.regressions. {suggestion(str(choice), evaluated)}"
                yield InputError(place, f"{choice} is not evaluated", fix)


def _splits(plan: Plan) -> Iterable[InputError]:
    """Problems of a split that the materials table gives."""
    if GIVEN not in plan.evaluation.splits:
        return
    if plan.main_split == GIVEN:
        problem = f"the last is {GIVEN!r}, whose one fold can neither check intervals nor judge the final models"
        others = ", ".join(DRAWN)
        yield InputError("evaluation.splits", problem, f"Name one of {others} after it", "last_split")
    if plan.config["materials"] in ("elements", "materials_project"):
        problem = f"{GIVEN!r} needs the column split, which the table of {plan.config['materials']} does not have"
        yield InputError("evaluation.splits", problem, f"Remove {GIVEN!r}, or name a table of your own", "no_column")


def _densities(plan: Plan) -> Iterable[InputError]:
    """Problems of the sources of densities and promolecules."""
    config = plan.config
    dft, engine, source = config["dft"], config["dft"]["engine"], config["materials"]
    if source == "elements" and engine not in COMPUTING_ENGINES:
        fix = f"Set dft.engine to {' or '.join(COMPUTING_ENGINES)}, or name a table of your own"
        yield InputError("materials", f"the embedded elements have no densities for the engine {engine}", fix)
    if source == "materials_project" and engine == "files":
        fix = "Choose another engine, or name a table with the column density"
        yield InputError("materials", "the Materials Project's table names no density files, engine files", fix)
    if dft["atomization_energy"] == "computed" and engine not in ATOM_ENGINES:
        fix = f"Set it to table, or dft.engine to {' or '.join(ATOM_ENGINES)}"
        yield InputError("dft.atomization_energy", f"engine {engine} computes no free atoms", fix)
    files = dft["files"]
    if engine == "files" and files["promolecule"] == "gpaw" and files["kind"] != "valence":
        problem = f"GPAW's atoms do not give the promolecule of densities of kind {files['kind']}"
        yield InputError("dft.files.promolecule", problem, "Set it to as_given")
    missing = {PROMOLECULE, DEFORMATION} - _fields(dft)
    needing = set(blocks_that(lambda block: block.field in missing))
    fields = {BLOCKS[block].field for block in needing if BLOCKS[block].form == LATENT}
    places = {"autoencoder.compared_fields": [f for f in config["autoencoder"]["compared_fields"] if f in fields]}
    choices = {"predict": plan.predict, "invariance.models": plan.invariance.models}
    for model in {choice.model for choice in plan.evaluation.regressions}:
        of_model = tuple(choice for choice in plan.evaluation.regressions if choice.model == model)
        choices[f"evaluation.regressions.{model}"] = of_model
    for place, chosen in choices.items():
        known = tuple(choice for choice in chosen if choice.features in plan.feature_sets)
        places[place] = [block for block in plan.blocks_of(known) if block in needing]
    for place, names in places.items():
        if names:
            why = "stores no promolecule"
            if PROMOLECULE not in missing:
                why = "gives promolecules, whose deformation density is zero"
            problem = f"{', '.join(names)} cannot be computed: the engine {engine} {why}"
            can = dft[engine].get("promolecule") is False
            fix = f"Set dft.{engine}.promolecule: true, or remove them" if can else "Remove them"
            yield InputError(place, problem, fix)


def _fields(dft: dict) -> set[str]:
    """Fields that densities of the engine have, or (in files of the user) may have, beside those of every density."""
    engine = dft["engine"]
    if engine == "atoms" or (engine == "files" and dft["files"]["kind"] == PROMOLECULE):
        return {PROMOLECULE}
    is_stored = engine == "files" or dft[engine].get("promolecule", False)
    return {PROMOLECULE, DEFORMATION} if is_stored else set()


def _sizes(plan: Plan) -> Iterable[InputError]:
    grid, latent = plan.config["grid"]["size"], plan.config["autoencoder"]["latent_size"]
    if grid < 2 * latent:
        problem = f"{latent}, but grid.size is {grid}: at least twice the latent's size is needed"
        yield InputError("autoencoder.latent_size", problem, "Change one of the two")
    for model in dict.fromkeys(choice.model for choice in plan.evaluation.regressions if choice.model in MODELS):
        multiple, section = MODELS[model].width_multiple, MODELS[model].section
        if multiple > 1 and plan.config[section]["channels"][-1] % multiple:
            problem = f"the last is {plan.config[section]['channels'][-1]}; {model} needs a multiple of {multiple}"
            yield InputError(f"{section}.channels", problem, f"Change it or remove {model}")
    fraction = plan.evaluation.validation_fraction
    for choice in plan.learning_curve.models:
        least = MODELS[choice.model].least_validation_labels if choice.model in MODELS else 1
        small = [size for size in plan.learning_curve.sizes if not is_enough(size, fraction, least)]
        if small:
            enough = next(n for n in range(small[0], 10**6) if is_enough(n, fraction, least))
            problem = f"{small[0]} materials are too few to train and validate {choice.model} with"
            yield InputError("learning_curve.sizes", problem, f"Give at least {enough}")


def _ranges(config: dict) -> Iterable[InputError]:
    source = config["materials_project"]
    ranges = {
        f"materials_project.{key}": source[key] for key in ("n_elements", "bulk_modulus_gpa", "shear_modulus_gpa")
    }
    searched = ("lightgbm.learning_rate", "attention_cnn.learning_rate", "attention_cnn.dropout")
    ranges |= {f"{section}.{key}": config[section][key] for section, key in (name.split(".") for name in searched)}
    for place, (least, most) in ranges.items():
        if least > most:
            yield InputError(place, f"[{least}, {most}] is an empty range", f"Write it as [{most}, {least}]")
    both = sorted({*source["elements"]} & {*source["exclude_elements"]})
    if both:
        problem = f"{', '.join(both)} is both required and excluded"
        yield InputError("materials_project.exclude_elements", problem, "Delete it from one of the two lists")


def _checked(plan: Plan, choices: Iterable[Choice], place: str) -> Iterable[InputError]:
    defined = [feature_sets.NO_FEATURES, *plan.config[feature_sets.SECTION]]
    for choice in choices:
        if choice.features not in defined:
            fix = suggestion(choice.features, defined)
            yield InputError(place, f"{choice}: there is no feature set {choice.features!r}", fix)
        elif choice.features in plan.feature_sets:  # others have a problem of their own
            try:
                check(choice.model, choice.features, plan.feature_sets[choice.features], place)
            except InputError as error:
                yield error


def _repeated(place: str, names: list[str]) -> Iterable[InputError]:
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield InputError(place, f"{name} appears {names.count(name)} times", "Name it once")
