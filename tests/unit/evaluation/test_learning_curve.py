"""Learning curves: smaller training sets of the same folds, and the errors that come of them."""

import numpy as np
import pandas as pd
import pytest
from standins.refusals import lacking
from standins.regressions import PROCESS, regression, run

from rho2prop.core.targets import TARGETS
from rho2prop.evaluation.cross_validation import RegressionData
from rho2prop.evaluation.learning_curve import ALL, COLUMNS, collect, learn, thinned
from rho2prop.features.design_matrix import BlockData
from rho2prop.materials.splits import draw_splits

pytestmark = pytest.mark.slow

BULK = "bulk_modulus_gpa"
N_MATERIALS = 90


@pytest.fixture(scope="module")
def crystals():
    """Materials whose bulk modulus is a smooth function of two features, and their folds."""
    rng = np.random.default_rng(0)
    ids = [f"m{n:02d}" for n in range(N_MATERIALS)]
    features = pd.DataFrame(rng.standard_normal((N_MATERIALS, 2)), columns=["x", "y"], index=ids)
    materials = pd.DataFrame(
        {"material_id": ids, "role": "train", "formula": ids, "chemical_system": ids, "volume_per_atom_ang3": 15.0}
    )
    for target in TARGETS:
        materials[target] = np.nan
    materials[BULK] = 50 * np.exp(0.5 * np.sin(2 * features["x"].to_numpy()) + 0.3 * features["y"].to_numpy())
    return materials, draw_splits(materials, ["random"], 3, 0.2, 1), BlockData({"magpie": features})


def parts(splits, fold):
    rows = splits[splits["fold"] == fold]
    return {part: set(group) for part, group in rows.groupby("part")["material_id"]}


def test_smaller_sets_lie_within_larger_ones_and_tests_stay(crystals):
    _, splits, _ = crystals
    rows = splits[splits["split"] == "random"]
    small, large = thinned(rows, 20, seed=3), thinned(rows, 40, seed=3)
    for fold in ("0", "1", "2"):
        given, few, more = (parts(table, fold) for table in (rows, small, large))
        assert few["test"] == more["test"] == given["test"]
        for part in ("train", "validation"):
            assert few[part] < more[part] < given[part]
        assert len(few["train"] | few["validation"]) == 20
        assert len(few["validation"]) == 4  # a fifth, as in the whole


def test_a_size_that_a_fold_does_not_have_is_none(crystals):
    _, splits, _ = crystals
    assert thinned(splits[splits["split"] == "random"], 61, seed=3) is None


def test_errors_fall_with_the_number_of_materials(crystals, tmp_path, capsys):
    materials, splits, blocks = crystals
    arguments = ("gaussian_process", "magpie", "random")
    data = RegressionData(materials, splits, blocks)
    learn(regression(*arguments, PROCESS), data, [12, 40, 500], tmp_path / "learned")
    assert not lacking(capsys.readouterr().err, 500)
    assert sorted(path.name for path in (tmp_path / "learned").iterdir()) == ["12", "40"]
    (tmp_path / "learned" / ".snakemake_timestamp").touch()  # Snakemake's mark in each folder that a rule makes
    run(*arguments, materials, splits, blocks, PROCESS, 1, tmp_path / "whole", 1, 1)
    curve = collect([tmp_path / "learned"], [tmp_path / "whole"])
    assert list(curve.columns) == COLUMNS
    found = curve.groupby("size").agg(mae=("mae", "mean"), n=("n_train", "mean"), folds=("fold", "nunique"))
    assert found["n"].to_dict() == {"12": 12, "40": 40, ALL: 60}
    assert set(found["folds"]) == {3}
    assert found.loc["12", "mae"] > 2 * found.loc["40", "mae"] > 2 * found.loc[ALL, "mae"] * 0.8
    assert curve["n_test"].sum() == 3 * N_MATERIALS


def test_without_sizes_there_is_only_a_header():
    assert list(collect([], []).columns) == COLUMNS
