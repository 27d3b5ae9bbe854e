"""Strict check of LightGBM's model text before LightGBM parses it.

LightGBM trusts the text: an index out of range or a loop in a tree reads foreign memory and ends the process. What
passes here is the text that ``rho2prop.models.boosting`` writes (format v4, one output, numerical splits) and
nothing else.
"""

import math
import re
from pathlib import Path

import numpy as np

from rho2prop.core.errors import InputError
from rho2prop.prediction.bundle.checks import FIX_WHOLE

MOST_BYTES = 2**28
DEEPEST = 512  # levels of a tree; LightGBM walks some of them by recursion
LARGEST_COUNT = 2**31 - 1
OBJECTIVES = ("regression", "tweedie")  # of rho2prop.models.boosting
MISSING = (0, 2, 4, 6, 8, 10)  # decision types without the bit of a categorical split
_HEAD = (
    "tree", "version", "num_class", "num_tree_per_iteration", "label_index", "max_feature_idx", "objective",
    "feature_names", "feature_infos", "tree_sizes",
)  # fmt: skip
_FIXED = {"tree": None, "version": "v4", "num_class": "1", "num_tree_per_iteration": "1", "label_index": "0"}
# what each array of a tree has: values per leaf or per split, whole numbers or any
_OF_TREE = {
    "split_feature": ("split", int),
    "split_gain": ("split", float),
    "threshold": ("split", float),
    "decision_type": ("split", int),
    "left_child": ("split", int),
    "right_child": ("split", int),
    "leaf_value": ("leaf", float),
    "leaf_weight": ("leaf", float),
    "leaf_count": ("leaf", int),
    "internal_value": ("split", float),
    "internal_weight": ("split", float),
    "internal_count": ("split", int),
}
_TREE_KEYS = ("num_leaves", "num_cat", *_OF_TREE, "is_linear", "shrinkage")
_WHOLE_NUMBER, _NUMBER = r"-?[0-9]++", r"-?[0-9]++(?:\.[0-9]++)?+(?:e[-+][0-9]++)?+"  # possessive: 6 times faster
_LISTS = {int: re.compile(rf"{_WHOLE_NUMBER}(?: {_WHOLE_NUMBER})*+"), float: re.compile(rf"{_NUMBER}(?: {_NUMBER})*+")}
_INFO = re.compile(rf"none|\[({_NUMBER}):({_NUMBER})\]")
_IMPORTANCE = re.compile(r"Column_[0-9]{1,9}=[0-9]{1,10}")
_PARAMETER = re.compile(r"\[[a-z0-9_]{1,60}: [-+.,A-Za-z0-9_ ]{0,1000}\]")


class _Wrong(Exception):
    """Error in the text."""


def check_tree_text(path: Path, n_features: int) -> None:
    """Raise InputError unless a file holds trees that LightGBM can load and apply.

    Parameters
    ----------
    path
        File of one booster.
    n_features
        Number of features that it must read.
    """
    if path.stat().st_size > MOST_BYTES:
        raise InputError(path, f"holds {path.stat().st_size} bytes, expected at most {MOST_BYTES}", FIX_WHOLE)
    try:
        _check(path.read_bytes(), n_features)
    except _Wrong as wrong:
        raise InputError(path, f"is not a text of LightGBM trees that can be used: {wrong}", FIX_WHOLE) from None


def _check(content: bytes, n_features: int) -> None:
    if re.search(rb"[^\n -~]", content):
        raise _Wrong("it holds characters that are not plain ASCII")
    head, separator, rest = content.decode("ascii").partition("\n\n")
    if not separator:
        raise _Wrong("it has no trees")
    trees = _split(rest, _check_head(head, n_features))
    _check_trees([_tree_fields(text, number) for number, text in enumerate(trees)], n_features)


def _check_head(head: str, n_features: int) -> np.ndarray:
    """Sizes of the trees in bytes."""
    fields = _fields(head.split("\n"), _HEAD)
    for key, expected in _FIXED.items():
        if fields[key] != expected:
            raise _Wrong(f"its {key} is {fields[key]!r}, expected {expected!r}")
    objective = fields["objective"] or ""
    if objective not in OBJECTIVES:
        raise _Wrong(f"its objective is {objective[:40]!r}, expected one of {', '.join(OBJECTIVES)}")
    last = _numbers([fields], "max_feature_idx", np.array([1]), int)[0]
    if last != n_features - 1:
        raise _Wrong(f"it reads {last + 1} features, its design gives {n_features}")
    if fields["feature_names"] != " ".join(f"Column_{i}" for i in range(n_features)):
        raise _Wrong("its feature_names are not those of its columns")
    texts = (fields["feature_infos"] or "").split(" ")
    infos = [info for info in map(_INFO.fullmatch, texts) if info is not None]
    if len(texts) != n_features or len(infos) != n_features:
        raise _Wrong("its feature_infos are not one range for each feature")
    if not all(math.isfinite(float(bound)) for info in infos for bound in info.groups("0")):
        raise _Wrong("its feature_infos are not finite")
    sizes = _numbers([fields], "tree_sizes", np.array([(fields["tree_sizes"] or "").count(" ") + 1]), int)
    if sizes.min() < 1:
        raise _Wrong("its tree_sizes are not positive")
    return sizes


def _split(rest: str, sizes: np.ndarray) -> list[str]:
    """Texts of the trees; the sections after them are checked."""
    ends = np.cumsum(sizes)
    if ends[-1] > len(rest):
        raise _Wrong(f"its tree_sizes add up to {ends[-1]} bytes, {len(rest)} follow")
    sections = rest[ends[-1] :].split("\n\n")
    names = ("end of trees", "feature_importances:", "parameters:", "end of parameters", "pandas_categorical:null\n")
    # The text of the parameters ends with an empty line more than the other sections.
    sections = [section.removeprefix("\n") for section in sections if section.strip("\n")]
    if len(sections) != len(names) or not all(map(str.startswith, sections, names)):
        raise _Wrong("its sections after the trees are not those of a model")
    patterns = dict(zip(names, (None, _IMPORTANCE, _PARAMETER, None, None), strict=True))
    for section, (name, pattern) in zip(sections, patterns.items(), strict=True):
        lines = section.removeprefix(name).lstrip("\n").split("\n") if section != name else []
        odd = [line for line in lines if pattern is None or not pattern.fullmatch(line)]
        if odd:
            raise _Wrong(f"its section {name.strip()!r} holds {odd[0][:40]!r}")
    return [rest[start:end] for start, end in zip(ends - sizes, ends, strict=True)]


def _tree_fields(text: str, number: int) -> dict[str, str | None]:
    first, *lines = text.split("\n")
    if first != f"Tree={number}" or not text.endswith("\n\n\n"):
        raise _Wrong(f"tree {number} does not begin and end as tree_sizes say")
    return _fields(lines[:-3], _TREE_KEYS)


def _check_trees(trees: list[dict], n_features: int) -> None:
    """Check all trees at once, which is faster than one by one."""
    for key in ("num_cat", "is_linear"):
        if any(tree[key] != "0" for tree in trees):
            raise _Wrong(f"a {key} is not 0: categorical splits and linear leaves are not written here")
    _numbers(trees, "shrinkage", np.ones(len(trees), dtype=int), float)
    n_leaves = _numbers(trees, "num_leaves", np.ones(len(trees), dtype=int), int)
    if n_leaves.min() < 1:
        raise _Wrong("a tree has no leaves")
    lengths = {"leaf": n_leaves, "split": n_leaves - 1}
    arrays = {}
    for key, (per, kind) in _OF_TREE.items():
        no_weight = (n_leaves == 1) & np.array([not tree[key] for tree in trees]) & (key == "leaf_weight")
        arrays[key] = _numbers(trees, key, np.where(no_weight, 0, lengths[per]), kind)
    if not arrays["split_feature"].size:
        return
    if arrays["split_feature"].min() < 0 or arrays["split_feature"].max() >= n_features:
        raise _Wrong(f"a split_feature lies outside 0 to {n_features - 1}")
    if not np.isin(arrays["decision_type"], MISSING).all():
        raise _Wrong("a decision_type is not that of a numerical split")
    _check_children(arrays["left_child"], arrays["right_child"], n_leaves)


def _check_children(left: np.ndarray, right: np.ndarray, n_leaves: np.ndarray) -> None:
    """Each split but the first and each leaf is the child of one split that comes before it, so there is no loop."""
    n_splits = n_leaves - 1
    first_split, first_leaf = np.cumsum(n_splits) - n_splits, np.cumsum(n_leaves) - n_leaves
    tree = np.repeat(np.arange(len(n_leaves)), n_splits)
    parent = np.arange(len(tree)) - first_split[tree]
    split_uses, leaf_uses = np.zeros(n_splits.sum(), dtype=int), np.zeros(n_leaves.sum(), dtype=int)
    for child in (left, right):
        is_leaf = child < 0
        if ((child >= n_splits[tree]) | (-child > n_leaves[tree])).any():
            raise _Wrong("a child lies outside its tree")
        if (~is_leaf & (child <= parent)).any():
            raise _Wrong("a split comes before its parent")
        np.add.at(split_uses, (first_split[tree] + child)[~is_leaf], 1)
        np.add.at(leaf_uses, (first_leaf[tree] - child - 1)[is_leaf], 1)
    split_uses[first_split[n_splits > 0]] += 1  # the root is nobody's child
    leaf_uses[first_leaf[n_splits == 0]] += 1
    if (split_uses != 1).any() or (leaf_uses != 1).any():
        raise _Wrong("its children are not each split and each leaf once")
    for number in np.flatnonzero(n_leaves > DEEPEST):
        _check_depth(*(side[first_split[number] :][: n_splits[number]] for side in (left, right)))


def _check_depth(left: np.ndarray, right: np.ndarray) -> None:
    level = np.array([0])
    for _ in range(DEEPEST):
        level = np.concatenate([left[level], right[level]])
        level = level[level >= 0]
        if not level.size:
            return
    raise _Wrong(f"a tree is more than {DEEPEST} levels deep")


def _fields(lines: list[str], keys: tuple[str, ...]) -> dict[str, str | None]:
    """Values of ``key=value`` lines, which must be these keys in this order; None where there is no ``=``."""
    pairs = [line.partition("=") for line in lines]
    found = tuple(key for key, _, _ in pairs)
    if found != keys:
        odd = next((key for key, expected in zip(found, keys, strict=False) if key != expected), "a number of lines")
        raise _Wrong(f"{odd[:40]!r} was found where {', '.join(keys[:3])} … were expected in their order")
    return {key: value if equals else None for key, equals, value in pairs}


def _numbers(records: list[dict], key: str, lengths: np.ndarray, kind: type) -> np.ndarray:
    """The numbers of a field of all records, finite, as many in each as there must be."""
    values = [record[key] or "" for record in records]
    found = np.array([value.count(" ") + 1 if value else 0 for value in values])
    if (found != lengths).any():
        wrong = int(np.flatnonzero(found != lengths)[0])
        raise _Wrong(f"it has {found[wrong]} {key}, expected {lengths[wrong]} (record {wrong})")
    value = " ".join(filter(None, values))
    if value and not _LISTS[kind].fullmatch(value):
        raise _Wrong(f"its {key} are not {'whole numbers' if kind is int else 'numbers'}")
    numbers = np.fromstring(value, dtype=np.float64, sep=" ") if value else np.empty(0)
    if not np.isfinite(numbers).all():
        raise _Wrong(f"its {key} are not finite")
    if kind is float:
        return numbers
    if numbers.size and np.abs(numbers).max() > LARGEST_COUNT:
        raise _Wrong(f"a {key} is larger than {LARGEST_COUNT}")
    return numbers.astype(np.int64)
