"""Draw and read the folds: which material trains, validates and tests."""

import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from rho2prop.core.errors import InputError
from rho2prop.materials.split_names import FINAL_FOLD, FINAL_SPLIT, GIVEN, GIVEN_FOLD, PARTS, require_parts

GROUP_COLUMNS = {"random": "material_id", "formula": "formula", "chemical_system": "chemical_system"}
SOURCE = "results/materials.csv"
COLUMNS = ["split", "fold", "material_id", "part"]


def draw_splits(
    materials: pd.DataFrame,
    kinds: list[str],
    n_folds: int,
    validation_fraction: float,
    seed: int,
    given: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Draw all folds.

    Parameters
    ----------
    materials
        Table of materials with the columns ``material_id, role, formula, chemical_system``; only rows of role
        ``train`` take part. The order of the rows does not matter.
    kinds
        Any of ``random``, ``formula``, ``chemical_system``: what must not be on both sides of a split. ``given``: the
        parts of ``given``, one fold.
    n_folds
        Number of test parts of each split.
    validation_fraction
        Share of a fold's non-test part that validates; whole groups, as the split has them.
    seed
        Seed; each split draws from its own stream.
    given
        Part of each material, for the split ``given``.

    Returns
    -------
    pandas.DataFrame
        ``split, fold, material_id, part`` (train, validation or test), all strings. Split ``all`` with its
        one fold ``final`` has no test part: it is for the final models.

    Raises
    ------
    InputError
        Fewer groups than folds, or none left to train on. A part of ``given`` is missing or empty.
    """
    rows = materials[materials["role"] == "train"].sort_values("material_id")
    ids = rows["material_id"].astype(str).to_numpy()
    parts = []
    for kind in kinds:
        if kind == GIVEN:
            parts.append(_frame(GIVEN, GIVEN_FOLD, ids, _given_parts(ids, given or {})))
            continue
        groups = rows[GROUP_COLUMNS[kind]].astype(str).to_numpy()
        _check_groups(kind, groups, max(n_folds, 3), n_folds)
        rng = np.random.default_rng(derived_seed(seed, "splits", kind))
        test_fold = _balanced_folds(groups, n_folds, rng)
        for fold in range(n_folds):
            part = np.where(test_fold == fold, "test", "train").astype("<U10")
            remaining = np.flatnonzero(test_fold != fold)
            part[remaining[_validation_rows(groups[remaining], validation_fraction, rng)]] = "validation"
            parts.append(_frame(kind, str(fold), ids, part))
    groups = rows["chemical_system"].astype(str).to_numpy()
    _check_groups("chemical_system", groups, 2, n_folds)
    rng = np.random.default_rng(derived_seed(seed, "splits", FINAL_SPLIT))
    part = np.full(len(ids), "train", dtype="<U10")
    part[_validation_rows(groups, validation_fraction, rng)] = "validation"
    parts.append(_frame(FINAL_SPLIT, FINAL_FOLD, ids, part))
    return pd.concat(parts, ignore_index=True)


def read_splits(path: Path | str, material_ids: Iterable[str] | None = None) -> pd.DataFrame:
    """Read ``results/splits.csv``; all columns are text.

    Parameters
    ----------
    path
        File of ``draw_splits``.
    material_ids
        Materials that it was drawn for; None: whatever it names.

    Raises
    ------
    InputError
        A fold lacks a material or has it twice, or a split that was drawn does not test each material once.
    """
    splits = pd.read_csv(path, dtype=str, keep_default_na=False)
    fix = "Delete it and repeat the command, which draws the same folds"
    if list(splits.columns) != COLUMNS:
        raise InputError(path, f"has the columns {', '.join(splits.columns)}, expected {', '.join(COLUMNS)}", fix)
    everyone = sorted(splits["material_id"].unique() if material_ids is None else material_ids)
    for (split, fold), rows in splits.groupby(["split", "fold"], sort=False):
        if sorted(rows["material_id"]) != everyone or not set(rows["part"]) <= set(PARTS):
            problem = f"fold {fold} of split {split} has {len(rows)} rows, not each of {len(everyone)} materials once"
            raise InputError(path, problem, fix)
    for split, rows in splits[~splits["split"].isin([FINAL_SPLIT, GIVEN])].groupby("split", sort=False):
        if sorted(rows.loc[rows["part"] == "test", "material_id"]) != everyone:
            raise InputError(path, f"split {split} does not test each of {len(everyone)} materials once", fix)
    return splits


def derived_seed(seed: int, *names: str) -> int:
    """A separate seed for each named part of the run, the same on every machine."""
    return int(np.random.SeedSequence([seed, zlib.crc32("/".join(names).encode())]).generate_state(1)[0] >> 1)


def _given_parts(ids: np.ndarray, given: Mapping[str, str]) -> np.ndarray:
    parts = [given.get(name) for name in ids]
    require_parts(SOURCE, parts)
    return np.array(parts)


def _check_groups(kind: str, groups: np.ndarray, n_needed: int, n_folds: int) -> None:
    n_groups = len(np.unique(groups))
    if n_groups < n_needed:
        what = {"random": "materials", "formula": "formulas", "chemical_system": "chemical systems"}[kind]
        raise InputError(
            SOURCE,
            f"{n_groups} labelled {what} are too few for {n_folds} folds of {kind!r} (at least {n_needed})",
            f"Add materials, lower evaluation.n_folds or take {kind!r} out of evaluation.splits",
        )


def _balanced_folds(groups: np.ndarray, n_folds: int, rng: np.random.Generator) -> np.ndarray:
    """Fold of each row: the largest groups first, those of one size in random order, each into the smallest fold."""
    from sklearn.model_selection import GroupKFold  # not needed where models are only applied

    names, group_of_row = np.unique(groups, return_inverse=True)
    number = np.argsort(rng.permutation(len(names))[::-1])  # GroupKFold takes those of one size from the last number on
    test_fold = np.empty(len(groups), dtype=int)
    for fold, (_, rows) in enumerate(GroupKFold(n_folds).split(groups, groups=number[group_of_row])):
        test_fold[rows] = fold
    return test_fold


def _validation_rows(groups: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Whole groups in random order that stay within the wanted number of rows; at least one group."""
    names, group_of_row, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    wanted, n_rows, chosen = max(1, round(fraction * len(groups))), 0, []
    order = rng.permutation(len(names))
    for group in order:
        if n_rows + sizes[group] <= wanted:
            chosen.append(group)
            n_rows += sizes[group]
    if not chosen:
        chosen = [order[np.argmin(sizes[order])]]
    return np.flatnonzero(np.isin(group_of_row, chosen))


def _frame(split: str, fold: str, ids: np.ndarray, part: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"split": split, "fold": fold, "material_id": ids, "part": part})
