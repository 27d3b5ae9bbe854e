"""A split that the materials table gives: read from its column, checked before any work, kept as it is."""

import pandas as pd
import pytest
from standins.networks import CONFIG
from standins.refusals import refused

from rho2prop.evaluation.config_check import problems
from rho2prop.evaluation.label_check import require_groups
from rho2prop.evaluation.plan import Plan
from rho2prop.materials.splits import draw_splits, read_splits
from rho2prop.materials.table import TableError, read_table
from rho2prop.materials.table_record import read_table_record, write_table_record

PARTS = ["train"] * 7 + ["validation"] * 2 + ["test"] * 3
ROWS = [f"m{i:02d},a.cif,{50 + i},{part}" for i, part in enumerate(PARTS)]


def read(folder, *rows):
    (folder / "a.cif").write_text("x")
    path = folder / "materials.csv"
    path.write_text("\n".join(["material_id,structure,bulk_modulus_gpa,split", *rows, ""]))
    return read_table(path)


def configured(*splits, materials="table.csv", scope="all"):
    evaluation = CONFIG["evaluation"] | {"splits": list(splits), "n_folds": 3}
    autoencoder = CONFIG["autoencoder"] | {"scope": scope}
    return CONFIG | {"materials": materials, "evaluation": evaluation, "autoencoder": autoencoder}


def materials_of(table):
    rows = [(name, "train", name, name) for name in table]
    return pd.DataFrame(rows, columns=["material_id", "role", "formula", "chemical_system"])


def test_the_parts_of_the_table_are_one_fold_and_change_no_other_split(tmp_path):
    table = read(tmp_path, *ROWS, "new,a.cif,,")
    given = {name: material.split for name, material in table.items() if material.role == "train"}
    assert table["new"].split is None
    drawn = draw_splits(materials_of(given), ["given", "random"], 3, 0.2, 5, given)
    rows = drawn[drawn["split"] == "given"]
    assert set(rows["fold"]) == {"0"}
    assert dict(zip(rows["material_id"], rows["part"], strict=True)) == given
    alone = draw_splits(materials_of(given), ["random"], 3, 0.2, 5)
    pd.testing.assert_frame_equal(drawn[drawn["split"] != "given"].reset_index(drop=True), alone)
    drawn.to_csv(tmp_path / "splits.csv", index=False)
    pd.testing.assert_frame_equal(read_splits(tmp_path / "splits.csv", list(given)), drawn)
    drawn[drawn["material_id"] != "m03"].to_csv(tmp_path / "splits.csv", index=False)
    with refused("given", 11, 12, source="splits.csv"):
        read_splits(tmp_path / "splits.csv", list(given))


@pytest.mark.parametrize(("cell", "value"), [("", "split"), ("val", "'val'")])
def test_a_labelled_row_without_a_part_is_named_by_its_line(tmp_path, cell, value):
    with refused("line 3", value, "validation", by=TableError):
        read(tmp_path, ROWS[0], f"m99,a.cif,70,{cell}", ROWS[1])


def test_jobs_read_the_parts_from_the_record(tmp_path):
    table = read(tmp_path, *ROWS)
    write_table_record(table, ["key"], tmp_path)
    assert read_table_record(["key"], tmp_path) == table


def test_a_part_without_materials_is_refused_before_any_work_and_after_the_calculations(tmp_path):
    table = read(tmp_path, *ROWS[:9])
    with refused("'test'", "evaluation.splits", source="table.csv"):
        require_groups(table, "table.csv", ["given", "random"], 3, lambda path: (path, path))
    given = {name: material.split for name, material in table.items()}
    with refused("'test'", source="materials.csv"):
        draw_splits(materials_of(given), ["given"], 3, 0.2, 5, given)
    whole = read(tmp_path, *ROWS)
    systems = iter(range(12))
    require_groups(whole, "table.csv", ["given"], 3, lambda path: (path, str(next(systems))))
    without = {name: None for name in whole}
    with refused("given", source="materials.csv"):
        draw_splits(materials_of(without), ["given"], 3, 0.2, 5, without)


def test_the_split_of_one_fold_is_not_the_last_and_needs_a_table_of_ones_own():
    def codes(*arguments, **options):
        return {error.code for error in problems(configured(*arguments, **options)) if "splits" in error.source}

    assert codes("given", "random") == set()
    assert codes("random", "given") == {"last_split"}
    assert codes("given") == {"last_split"}
    assert codes("given", "random", materials="elements") == {"no_column"}


def test_what_is_made_for_each_fold_is_made_once_for_the_given_split():
    plan = Plan(configured("given", "random", scope="fold"))
    assert plan.folds("given") == ["0"]
    assert plan.folds("random") == ["0", "1", "2"]
    assert plan.folds("all") == ["final"]
    assert plan.latent_scopes("given") == ["given-0"]
    assert plan.latent_scopes("random") == ["random-0", "random-1", "random-2"]
