import numpy as np
import pandas as pd
import pytest
from standins.refusals import refused

from rho2prop.materials.splits import draw_splits, read_splits

KINDS = ["random", "formula", "chemical_system"]


@pytest.fixture
def materials():
    rng = np.random.default_rng(3)
    rows = []
    for i in range(120):
        system = int(rng.integers(30)) if i > 20 else 0  # one system is much larger than the others
        rows.append((f"m{i:03d}", "train", f"F{system}-{i % 2}", f"S{system}"))
    rows += [(f"p{i}", "predict", "F0-0", "S0") for i in range(3)]
    return pd.DataFrame(rows, columns=["material_id", "role", "formula", "chemical_system"])


def test_each_material_is_tested_once_and_new_materials_take_no_part(materials):
    splits = draw_splits(materials, KINDS, 5, 0.15, seed=1)
    for _, rows in splits[splits["split"] != "all"].groupby("split"):
        tested = rows[rows["part"] == "test"]["material_id"]
        assert sorted(tested) == [f"m{i:03d}" for i in range(120)]
        assert (rows.groupby("fold").size() == 120).all()
    assert set(splits[splits["split"] == "all"]["part"]) == {"train", "validation"}
    assert not splits["material_id"].str.startswith("p").any()


@pytest.mark.parametrize("kind", ["formula", "chemical_system"])
def test_no_group_straddles_two_parts(materials, kind):
    splits = draw_splits(materials, [kind], 5, 0.15, seed=1)
    column = splits["material_id"].map(materials.set_index("material_id")[kind])
    assert (splits["part"].groupby([splits["fold"], column]).nunique() == 1).all()


def test_part_sizes(materials):
    splits = draw_splits(materials, KINDS, 5, 0.15, seed=1)
    sizes = splits.groupby(["split", "fold", "part"]).size().unstack()
    assert (sizes.loc["random", "test"] == 24).all()
    assert sizes.loc["chemical_system", "test"].between(20, 30).all()
    assert (sizes["validation"] >= 8).all()
    assert (sizes["validation"] <= 18).all()


def test_row_order_does_not_matter_and_the_seed_does(materials):
    shuffled = materials.sample(frac=1.0, random_state=5)
    splits = draw_splits(materials, KINDS, 5, 0.15, seed=1)
    pd.testing.assert_frame_equal(splits, draw_splits(shuffled, KINDS, 5, 0.15, seed=1))
    assert not splits.equals(draw_splits(materials, KINDS, 5, 0.15, seed=2))
    alone = draw_splits(materials, ["formula"], 5, 0.15, seed=1)
    same = splits[splits["split"] == "formula"]["part"].to_numpy()
    assert (alone[alone["split"] == "formula"]["part"].to_numpy() == same).all()


def test_too_few_groups_are_named(materials):
    few = materials[materials["chemical_system"].isin(["S0", "S1", "S2"])]
    with refused(3, 5, "'chemical_system'"):
        draw_splits(few, ["chemical_system"], 5, 0.15, seed=1)


@pytest.mark.parametrize(
    "damage",
    [
        lambda rows: rows.iloc[:-1],
        lambda rows: rows.drop(rows.index[rows["part"] == "test"][:1]),
        lambda rows: pd.concat([rows, rows.iloc[:1]]),
        lambda rows: rows.assign(part=rows["part"].replace("test", "train")),
        lambda rows: rows[rows["material_id"] != rows["material_id"].iloc[0]],
        lambda rows: rows.rename(columns={"part": "pa"}),
    ],
)
def test_folds_that_lack_a_row_or_repeat_one_are_refused(tmp_path, materials, damage):
    splits = draw_splits(materials, ["random"], 3, 0.2, seed=1)
    splits.to_csv(tmp_path / "splits.csv", index=False)
    ids = materials.loc[materials["role"] == "train", "material_id"]
    pd.testing.assert_frame_equal(read_splits(tmp_path / "splits.csv", ids), splits)
    damage(splits).to_csv(tmp_path / "splits.csv", index=False)
    with refused(source="splits.csv"):
        read_splits(tmp_path / "splits.csv", ids)
