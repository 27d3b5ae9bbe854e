"""Checks, before any work starts, that a materials table has enough labels."""

from collections.abc import Callable
from functools import lru_cache

from rho2prop.core.errors import InputError
from rho2prop.core.targets import ATOMIZATION_ENERGY, FORMATION_ENERGY, TARGETS
from rho2prop.evaluation.plan import Plan
from rho2prop.evaluation.settings import Choice
from rho2prop.materials.split_names import GIVEN, require_parts
from rho2prop.materials.table import Material
from rho2prop.models.registry import MODELS, least_labels

GROUPS = {"random": "materials", "formula": "formulas", "chemical_system": "chemical systems"}


def require_labels(labelled: dict[str, Material], source: str, plan: Plan) -> None:
    """Raise InputError if no model under ``predict`` could be trained.

    Parameters
    ----------
    labelled
        The materials with labels, by id.
    source
        Where they come from, for messages.
    plan
        Of the whole configuration.

    Raises
    ------
    InputError
        Too few labels for the folds, or fewer labelled materials than some setting asks for.
    """
    predict, n_folds, fraction = plan.predict, plan.evaluation.n_folds, plan.evaluation.validation_fraction
    counts = {target: sum(target in material.labels for material in labelled.values()) for target in TARGETS}
    counts[ATOMIZATION_ENERGY] += sum(FORMATION_ENERGY in material.labels for material in labelled.values())
    if plan.config["dft"]["atomization_energy"] == "computed":  # the label of every material
        counts[ATOMIZATION_ENERGY] = len(labelled)
    most = max(counts, key=lambda target: counts[target])
    needed = min(least_labels(choice.model, n_folds, fraction) for choice in predict if choice.model in MODELS)
    if counts[most] < needed:
        shown = ", ".join(f"{count} of {target}" for target, count in counts.items() if count)
        problem = (
            f"too few labels ({shown}): {needed} of one property are needed with evaluation.n_folds {n_folds} and "
            f"evaluation.validation_fraction {fraction:g} to train one of the models under predict"
        )
        raise InputError(source, problem, _fix(needed, n_folds, fraction, counts[most], predict))
    n_looked_at = plan.invariance.n_materials
    if n_looked_at > len(labelled):
        problem = f"{n_looked_at}, but {source} has {len(labelled)} labelled materials"
        raise InputError("invariance.n_materials", problem, f"Set it to {len(labelled)} or less")


def require_any_label(materials: dict[str, Material], source: str) -> dict[str, Material]:
    """Labelled materials; InputError if there are none."""
    labelled = {name: material for name, material in materials.items() if material.role == "train"}
    if not labelled:
        fix = f"Fill in at least one of the columns {', '.join(TARGETS)}; rows without labels are only predicted"
        raise InputError(source, f"none of its {len(materials)} materials has a label", fix)
    return labelled


def require_groups(
    labelled: dict[str, Material], source: str, kinds: list[str], n_folds: int, group_of: Callable
) -> None:
    """Raise InputError if there are fewer formulas or chemical systems than folds, or an empty part of a given split.

    Parameters
    ----------
    labelled
        The materials with labels, by id.
    source
        Where they come from, for messages.
    kinds
        Splits: ``random``, ``formula``, ``chemical_system``, ``given``.
    n_folds
        Folds of each.
    group_of
        Path of a structure to its formula and chemical system; asked for as many as are needed to tell.
    """
    if GIVEN in kinds:
        require_parts(source, (material.split for material in labelled.values()))
    needed = dict.fromkeys((kind for kind in kinds if kind != GIVEN), max(n_folds, 3))
    needed["chemical_system"] = max(needed.get("chemical_system", 0), 2)  # the final models validate on whole ones
    found: dict[str, set[str]] = {kind: set() for kind in needed}
    for name, material in labelled.items():
        formula, system = group_of(material.structure)
        values = {"random": name, "formula": formula, "chemical_system": system}
        for kind in needed:
            found[kind].add(values[kind])
        if all(len(found[kind]) >= least for kind, least in needed.items()):
            return
    for kind, least in needed.items():
        if len(found[kind]) < least:
            folds = f"for {n_folds} folds of {kind!r}" if kind in kinds else "to validate the final models"
            problem = f"{len(found[kind])} labelled {GROUPS[kind]} are too few {folds} (at least {least})"
            fix = f"Add materials, lower evaluation.n_folds or remove {kind!r} from evaluation.splits"
            raise InputError(source, problem, fix)


@lru_cache
def formula_and_system(structure: str) -> tuple[str, str]:
    """Reduced formula and chemical system of a structure file; its path if it cannot be read."""
    from rho2prop.crystals.structures import read_structure

    try:
        composition = read_structure(structure).composition
    except InputError:  # it will be an outcome with this reason; here it counts as a group of its own
        return structure, structure
    return composition.reduced_formula, composition.chemical_system


def _fix(needed: int, n_folds: int, fraction: float, n_labels: int, predict: tuple[Choice, ...]) -> str:
    for folds in range(n_folds, 1, -1):
        for share in sorted({fraction, 0.25, 0.4}):
            models = [choice.model for choice in predict]
            if share >= fraction and min(least_labels(model, folds, share) for model in models) <= n_labels:
                return f"Add labelled materials, or set evaluation.n_folds {folds} and validation_fraction {share:g}"
    return f"Add at least {needed - n_labels} labelled materials"
