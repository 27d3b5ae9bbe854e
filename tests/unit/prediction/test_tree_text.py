"""Texts of boosted trees: what the package writes passes, and nothing that could end the process does."""

import json
import re
import subprocess
import sys
from pathlib import Path

import lightgbm
import numpy as np
import pytest
from standins.refusals import refused
from standins.tree_text_fuzz import N_FEATURES, booster_text, with_sizes

from rho2prop.core.errors import InputError
from rho2prop.models.boosting import BoostingSettings, fit
from rho2prop.prediction.bundle.tree_text import DEEPEST, check_tree_text
from rho2prop.prediction.pretrained import SHIPPED


@pytest.fixture(scope="module")
def text():
    return booster_text()


def edited(text, key, change, tree=1):
    """The text with a change in one line of one tree and tree_sizes that agree."""
    lines = text.split("\n")
    places = [i for i, line in enumerate(lines) if line.startswith(f"{key}=")]
    place = places[min(tree, len(places) - 1)]
    words = lines[place].partition("=")[2].split(" ")
    lines[place] = f"{key}=" + " ".join(change(words))
    return with_sizes("\n".join(lines))


def replaced(index, value):
    return lambda words: [value if i == index % len(words) else word for i, word in enumerate(words)]


@pytest.mark.parametrize("is_positive", [True, False])
@pytest.mark.parametrize("n_rows", [12, 120])
def test_what_the_package_writes_passes(tmp_path, is_positive, n_rows):
    rng = np.random.default_rng(1)
    features, labels = rng.normal(size=(n_rows, 3)), np.exp(rng.normal(size=n_rows))
    settings = BoostingSettings(n_trials=2, max_rounds=10, patience=3, learning_rate=(0.05, 0.2), max_bin=31)
    booster, _, _ = fit(features, labels, features, labels, is_positive, settings, 1, 1)
    booster.save_model(tmp_path / "trees.txt")
    check_tree_text(tmp_path / "trees.txt", 3)
    with refused(3, 4):
        check_tree_text(tmp_path / "trees.txt", 4)


def test_models_of_the_repository_pass():
    files = list((SHIPPED / "regressors").rglob("*.txt"))
    assert files
    for path in files:
        columns = json.loads((path.parent / "design.json").read_text())["columns"]
        check_tree_text(path, sum(len(names) for block, names in columns.items() if block != "cohesive_energy"))


@pytest.mark.parametrize(
    ("key", "change", "word"),
    [
        ("split_feature", replaced(0, "99999"), "split_feature"),
        ("split_feature", replaced(0, "-1"), "split_feature"),
        ("left_child", replaced(0, "0"), "before its parent"),
        ("left_child", replaced(-1, "1000000"), "outside its tree"),
        ("right_child", replaced(-1, "-1000000"), "outside its tree"),
        ("left_child", replaced(-1, "-1"), "each leaf once"),
        ("threshold", replaced(0, "nan"), "threshold"),
        ("threshold", replaced(0, "1e999"), "threshold"),
        ("threshold", lambda words: words[1:], "threshold"),
        ("leaf_value", replaced(0, "inf"), "leaf_value"),
        ("leaf_value", lambda words: words[1:], "leaf_value"),
        ("num_leaves", replaced(0, "1000000000"), "split_feature"),
        ("num_leaves", replaced(0, "0"), "no leaves"),
        ("num_cat", replaced(0, "3"), "num_cat"),
        ("is_linear", replaced(0, "1"), "is_linear"),
        ("decision_type", replaced(0, "1"), "decision_type"),
        ("max_feature_idx", replaced(0, "2147483647"), "features"),
        ("num_class", replaced(0, "7"), "num_class"),
        ("version", replaced(0, "v9"), "version"),
        ("objective", replaced(0, "multiclass"), "objective"),
        ("feature_names", replaced(0, "other"), "feature_names"),
        ("feature_infos", replaced(0, "[0:1:2]"), "feature_infos"),
        ("shrinkage", replaced(0, "1 2"), "shrinkage"),
    ],
)
def test_each_fault_is_named(text, tmp_path, key, change, word):
    path = tmp_path / "trees.txt"
    path.write_text(edited(text, key, change))
    with pytest.raises(InputError, match=word) as error:
        check_tree_text(path, N_FEATURES)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("Tree=1", "Tree=2"),
        lambda text: re.sub(r"tree_sizes=\d+", "tree_sizes=1", text),
        lambda text: text.replace("threshold=", "threshhold=", 1),
        lambda text: text.replace("\nparameters:", "\nsurprise:\n\nparameters:"),
        lambda text: text.replace("[boosting: gbdt]", '[boosting: "}]'),
        lambda text: text.replace("pandas_categorical:null", "pandas_categorical:[[1]]"),
        lambda text: text.replace("end of trees", "end of\0trees"),
        lambda text: text.replace("Column_0=", "Column_0=é", 1),
    ],
)
def test_a_broken_frame_is_refused(text, tmp_path, change):
    assert change(text) != text
    (tmp_path / "trees.txt").write_text(change(text), encoding="utf-8")
    with refused("LightGBM", source="trees.txt"):
        check_tree_text(tmp_path / "trees.txt", N_FEATURES)


def chain(text, n_leaves):
    """The first tree as one chain of splits."""
    n = n_leaves - 1
    arrays = {
        "num_leaves": [n_leaves], "split_feature": [0] * n, "split_gain": [1] * n, "threshold": [0.5] * n,
        "decision_type": [2] * n, "left_child": [*range(1, n), -1], "right_child": [-i - 2 for i in range(n)],
        "leaf_value": [0.5] * n_leaves, "leaf_weight": [1] * n_leaves, "leaf_count": [1] * n_leaves,
        "internal_value": [0] * n, "internal_weight": [1] * n, "internal_count": [1] * n,
    }  # fmt: skip
    for key, values in arrays.items():
        text = edited(text, key, lambda words, values=values: map(str, values), tree=0)
    return text


def test_a_tree_may_be_deep_but_not_without_end(text, tmp_path):
    path = tmp_path / "trees.txt"
    path.write_text(chain(text, DEEPEST + 1))
    check_tree_text(path, N_FEATURES)
    assert np.isfinite(lightgbm.Booster(model_file=path).predict(np.zeros((2, N_FEATURES)))).all()
    path.write_text(chain(text, DEEPEST + 2))
    with refused(source=path):
        check_tree_text(path, N_FEATURES)


@pytest.mark.slow  # hundreds of processes
def test_no_damaged_text_that_passes_ends_the_process(tmp_path):
    """A thousand damaged texts in a child process: LightGBM loads and applies all that pass."""
    program = Path(__file__).parents[2] / "standins" / "tree_text_fuzz.py"
    command = [sys.executable, program, tmp_path, "1000", "11"]
    child = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=Path(__file__).parents[3])
    assert child.returncode == 0, child.stderr[-2000:]  # negative: died by a signal
    counts = json.loads(child.stdout)
    assert counts["refused"] > 500
    assert counts["passed"] > 20
