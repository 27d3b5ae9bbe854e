"""Named feature sets: the section ``feature_sets`` of the configuration, resolved to ordered lists of blocks.

Nothing slow is imported: the Snakefile reads this.
"""

from collections.abc import Mapping

from rho2prop.core.errors import InputError, suggestion
from rho2prop.features.registry import BLOCKS

NO_FEATURES = "none"  # the one set that needs no definition: no block at all, for the mean
SECTION = "feature_sets"


def resolve(definitions: Mapping) -> dict[str, tuple[str, ...]]:
    """All sets with their blocks in order, including ``none``.

    Parameters
    ----------
    definitions
        Section ``feature_sets``: a list of blocks, or ``{extends: <set>, add: [<block>, ...]}``.

    Raises
    ------
    InputError
        A set is wrong: see ``problems``.
    """
    for error in problems(definitions):
        raise error
    return {NO_FEATURES: ()} | {name: _blocks(name, definitions) for name in definitions}


def problems(definitions: Mapping) -> list[InputError]:
    """Problems of the definitions: unknown blocks and sets, cycles, repeated blocks."""
    found = []
    for name in definitions:
        try:
            _check(name, definitions)
        except InputError as error:
            found.append(error)
    return found


def sound(definitions: Mapping) -> dict[str, tuple[str, ...]]:
    """Sets without problems, so that they can be checked further."""
    wrong = {error.source.removeprefix(f"{SECTION}.") for error in problems(definitions)}
    return {NO_FEATURES: ()} | {name: _blocks(name, definitions) for name in definitions if name not in wrong}


def set_label(name: str) -> str:
    """``magpie_latent_pca`` as ``MAGPIE latent PCA``: blocks in a set's name by their labels."""
    for block in sorted(BLOCKS.values(), key=lambda block: -len(block.name)):
        name = name.replace(block.name, block.label)
    return name.replace("_", " ")


def _check(name: str, definitions: Mapping) -> None:
    place = f"{SECTION}.{name}"
    if name == NO_FEATURES:
        raise InputError(place, "this name is reserved for no features", "Choose another name")
    chain = [name]
    while isinstance(definitions[chain[-1]], Mapping):
        parent = definitions[chain[-1]]["extends"]
        if parent not in definitions:
            raise InputError(place, f"extends the unknown set {parent!r}", suggestion(parent, definitions))
        if parent in chain:
            path = " extends ".join([*chain, parent])
            raise InputError(place, f"extends itself ({path})", "List the blocks of one of them")
        chain.append(parent)
    blocks = _blocks(name, definitions)
    for block in blocks:
        if block not in BLOCKS:
            raise InputError(place, f"unknown feature block {block!r}", suggestion(block, BLOCKS))
    repeated = [block for block in blocks if blocks.count(block) > 1]
    if repeated:
        raise InputError(place, f"the block {repeated[0]!r} appears twice", "Name each block once")
    if not blocks:
        raise InputError(place, "has no block", f"Name at least one; {NO_FEATURES!r} is the set without any")


def _blocks(name: str, definitions: Mapping) -> tuple[str, ...]:
    definition = definitions[name]
    if isinstance(definition, Mapping):
        return (*_blocks(definition["extends"], definitions), *definition["add"])
    return tuple(definition)
