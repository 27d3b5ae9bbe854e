"""Names of splits, folds and parts, and the check of a split that the materials table gives. Imports nothing slow."""

from collections.abc import Iterable
from pathlib import Path

from rho2prop.core.errors import InputError

DRAWN = ("random", "formula", "chemical_system")
GIVEN, GIVEN_FOLD = "given", "0"  # the split by the column of the materials table, and its one fold
FINAL_SPLIT, FINAL_FOLD = "all", "final"
PARTS = ("train", "validation", "test")


def require_parts(source: Path | str, parts: Iterable[str | None]) -> None:
    """Raise InputError unless each part of the split ``given`` has a material.

    Parameters
    ----------
    source
        Materials table, for messages.
    parts
        Cells of its column ``split``, of all labelled materials; None where there is none.
    """
    found = set(parts)
    lacking = [part for part in PARTS if part not in found]
    if lacking or None in found:
        which = f"none with {lacking[0]!r}" if lacking else "one without a part"
        problem = f"evaluation.splits names {GIVEN!r}, but of the labelled materials there is {which}"
        fix = f"Fill the column split with {', '.join(PARTS)}, or remove {GIVEN!r} from evaluation.splits"
        raise InputError(source, problem, fix)
