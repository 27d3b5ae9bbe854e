"""Refusal of results of earlier versions, whose feature sets had no names."""

import json
from collections.abc import Iterator
from pathlib import Path

from rho2prop.core.errors import InputError

FORMER_FILES = (
    "features/cohesion.csv",
    "features/elements.csv",
    "features/springs.csv",
    "features/superposition_fingerprint.csv",
    "features/difference_fingerprint.csv",
    "features/occupancy_fingerprint.csv",
    "robustness.csv",
)


def refuse_earlier_results(results: Path) -> None:
    """Raise InputError if the results of a folder are of a version without named feature sets.

    Parameters
    ----------
    results
        Folder ``results`` of the run; there may be none.

    Raises
    ------
    InputError
        Naming the first such result, and how to keep the densities.
    """
    former = next(_former_results(results), None)
    if former is not None:
        fix = (
            "Run in another --directory, or delete the folder results. To keep its densities, name "
            "results/dft/<material>/density.npz in the column density of a table and set dft.engine: files"
        )
        raise InputError(former, "was written by an earlier version, whose results cannot be continued", fix)


def _former_results(results: Path) -> Iterator[Path]:
    yield from (results / name for name in FORMER_FILES if (results / name).is_file())
    for kind in ("regression", "learning", "importance"):
        yield from sorted(path for path in (results / kind).glob("*/*") if "+" in path.name)
    for path in sorted((results / "regression").glob("*/*/*/targets.json")):
        if "blocks" not in json.loads(path.read_text()):
            yield path
