import json
import shutil

import numpy as np
import pandas as pd
import pytest
from standins.folds import SETTINGS, make_inputs, run_model
from standins.refusals import refused
from standins.regressions import block_list, run, set_name

from rho2prop.core.errors import InputError
from rho2prop.core.targets import ATOMIZATION_ENERGY, TARGETS
from rho2prop.crystals.elasticity import BULK, DEBYE, SHEAR, YOUNG
from rho2prop.evaluation import cross_validation
from rho2prop.evaluation.cross_validation import predict_fold
from rho2prop.evaluation.fold_results import collect_metrics, read_predictions
from rho2prop.evaluation.importance import block_importance
from rho2prop.features.design_matrix import BlockData, Latents, fit_design
from rho2prop.models import estimator
from rho2prop.models.registry import MODELS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def inputs():
    return make_inputs()


@pytest.fixture(scope="module")
def boosted(tmp_path_factory, inputs):
    return run_model(tmp_path_factory.mktemp("boosted") / "random", "lightgbm", "magpie+structure", inputs)


def test_a_learnable_problem_is_learnt_and_the_mean_is_not_a_model(boosted, inputs, tmp_path):
    mean = run_model(tmp_path / "mean", "mean", "none", inputs)
    metrics = collect_metrics([boosted, mean])
    r2 = metrics.groupby(["model", "target"])["r2"].mean()
    assert r2["lightgbm", BULK] > 0.85
    assert r2["lightgbm", SHEAR] > 0.85
    assert r2["lightgbm_from_kg", "youngs_modulus_gpa"] > 0.85
    assert r2["lightgbm_from_kg", "debye_temperature_k"] > 0.85
    assert r2["mean", BULK] < 0.01


def test_predictions_are_of_test_rows_with_a_label(boosted, inputs):
    materials, splits, _ = inputs
    rows = read_predictions(boosted / "predictions.csv")
    tested = splits[(splits["split"] == "random") & (splits["part"] == "test")].set_index("material_id")["fold"]
    assert (rows["fold"] == rows["material_id"].map(tested)).all()
    assert rows["target"].value_counts().to_dict() == {
        BULK: 160,
        SHEAR: 120,
        "youngs_modulus_gpa": 160,
        "debye_temperature_k": 160,
    }
    truth = materials.set_index("material_id")[BULK]
    bulk = rows[rows["target"] == BULK]
    assert (bulk["y_true"].to_numpy() == truth[bulk["material_id"]].to_numpy()).all()
    # E is derived also where G itself has no label.
    derived = read_predictions(boosted / "predictions_from_kg.csv")
    assert (derived["target"] == "youngs_modulus_gpa").sum() == 160


def test_a_model_that_predicts_no_number_is_refused_not_scored_without_that_row(tmp_path, inputs, monkeypatch):
    def diverged(*arguments, **keywords):
        predicted = predict_fold(*arguments, **keywords)
        predicted.iloc[2] = np.nan
        return predicted

    monkeypatch.setattr(cross_validation, "predict_fold", diverged)
    with refused("none", "random", "fold 0", 1):
        run_model(tmp_path / "random", "mean", "none", inputs)
    assert not (tmp_path / "random").exists()


def test_half_a_table_of_predictions_is_refused(boosted, tmp_path):
    shutil.copytree(boosted, tmp_path / "copy")
    path = tmp_path / "copy/predictions.csv"
    lines = path.read_text().splitlines(keepends=True)
    for damaged in (lines[: len(lines) // 2], [*lines[:-1], lines[-1].rpartition(",")[0]]):
        path.write_text("".join(damaged))
        with refused(len(damaged) - 1, len(lines) - 1, source="predictions.csv"):
            read_predictions(path)


def test_targets_that_cannot_be_trained_are_named(boosted):
    summary = json.loads((boosted / "targets.json").read_text())
    assert summary["targets"] == [target for target in TARGETS if target != "atomization_energy_ev_per_atom"]
    assert summary["left_out"]["atomization_energy_ev_per_atom"].startswith("3 labelled materials")


def test_metrics_count_labelled_training_and_validation_rows(boosted, inputs):
    materials, splits, _ = inputs
    metrics = collect_metrics([boosted]).set_index(["model", "target", "fold"])
    rows = splits[(splits["split"] == "random") & (splits["fold"] == "1") & (splits["part"] != "test")]
    labelled = materials.set_index("material_id").loc[rows["material_id"], SHEAR].notna().sum()
    assert metrics.loc[("lightgbm", SHEAR, "1"), "n_train"] == labelled
    assert metrics.loc[("lightgbm_from_kg", "debye_temperature_k", "1"), "n_train"] == labelled
    assert metrics.loc[("lightgbm", SHEAR, "1"), "n_train"] < metrics.loc[("lightgbm", BULK, "1"), "n_train"]


@pytest.mark.parametrize(("model", "features"), [("lightgbm", "magpie+latent_pca"), ("attention_cnn", "magpie+latent")])
def test_the_test_part_changes_nothing_that_is_fitted(tmp_path, inputs, model, features):
    materials, splits, blocks = inputs
    first_fold = splits[(splits["split"] == "random") & (splits["fold"] == "0")].assign(split="one")
    ids = {part: sorted(rows["material_id"]) for part, rows in first_fold.groupby("part")}
    labels = materials.copy()
    labels.loc[labels["material_id"].isin(ids["test"]), [BULK, SHEAR]] = 1e9
    table = blocks.tables["magpie"].copy()
    table.loc[ids["test"]] = 1e9
    values = blocks.latents["all"].values.copy()
    values[np.isin(blocks.latents["all"].material_ids, ids["test"])] = -1e6
    garbage = BlockData({"magpie": table}, {"all": Latents(blocks.latents["all"].material_ids, values)})
    clean = run_model(tmp_path / "clean", model, features, (materials, first_fold, blocks), "one")
    dirty = run_model(tmp_path / "dirty", model, features, (labels, first_fold, garbage), "one")
    names = sorted(path.name for path in (clean / "folds" / "0").iterdir())
    for name in names:
        if name.endswith((".txt", ".npz", ".safetensors", ".json")) and name != "fold.json":
            assert (clean / "folds" / "0" / name).read_bytes() == (dirty / "folds" / "0" / name).read_bytes(), name
    before, after = (predict_fold(folder / "folds" / "0", blocks, ids["validation"]) for folder in (clean, dirty))
    pd.testing.assert_frame_equal(before, after)


@pytest.mark.parametrize("model", ["mean", "lightgbm", "gaussian_process", "blend", "attention_cnn"])
def test_atomization_energies_are_learned_relative_to_the_elements(tmp_path, inputs, model):
    """What the elements' bonds are worth is taken off the label and put on again: the rest is all there is to learn."""
    x = inputs[2].tables["magpie"]
    cohesive = pd.DataFrame({"e": np.random.default_rng(4).uniform(1, 8, len(x))}, index=x.index)
    cohesive.iloc[-1] = np.nan  # an element without a measured value: the mean of the training part
    given = BlockData({"magpie": x, "cohesive_energy": cohesive})
    ids = {"train": list(x.index[:100]), "validation": list(x.index[100:130]), "test": list(x.index[130:])}
    gained = pd.Series(-(x["a"] ** 2), name=ATOMIZATION_ENERGY)
    predicted = {}
    for features in ("magpie", "magpie+cohesive_energy"):
        design = fit_design(block_list(features), given, "random", "0", ids["train"], 8, seed=0)
        parts = {part: design.apply(given, "random", "0", names) for part, names in ids.items()}
        zero = {part: 0.0 if matrix.energy_zero is None else matrix.energy_zero for part, matrix in parts.items()}
        labels = [(gained[ids[part]] + zero[part]).to_frame() for part in ("train", "validation")]
        data = estimator.FoldData(parts["train"], labels[0], parts["validation"], labels[1])
        folder = tmp_path / features
        folder.mkdir()
        settings = MODELS[model].settings_of(SETTINGS[model])
        estimator.fit(model, data, estimator.Fitting(settings, lambda name: 1, 1), folder)
        fitted = estimator.load(folder, model, [ATOMIZATION_ENERGY])
        predicted[features] = fitted(parts["test"])[ATOMIZATION_ENERGY] - zero["test"]
    assert zero["test"][-1] == pytest.approx(cohesive["e"][:100].mean())
    np.testing.assert_allclose(predicted["magpie+cohesive_energy"], predicted["magpie"], atol=1e-6)


def test_the_blend_learns_the_independent_properties_and_the_others_follow(tmp_path, inputs):
    materials, splits, blocks = inputs
    folder = run_model(tmp_path / "blend", "blend", "magpie+structure", inputs)
    summary = json.loads((folder / "targets.json").read_text())
    assert YOUNG not in summary["targets"]
    assert DEBYE not in summary["targets"]
    learned, derived = (read_predictions(folder / f"predictions{end}.csv") for end in ("", "_from_kg"))
    assert set(derived["target"]) == {YOUNG, DEBYE}
    assert not set(derived["target"]) & set(learned["target"])
    moduli = learned.pivot(index="material_id", columns="target", values="y_pred").dropna()  # both labels
    young = derived[derived["target"] == YOUNG].set_index("material_id")["y_pred"][moduli.index]
    expected = 9 * moduli[BULK] * moduli[SHEAR] / (3 * moduli[BULK] + moduli[SHEAR])
    np.testing.assert_allclose(young, expected, rtol=1e-9)
    without_shear = materials.assign(**{SHEAR: np.nan})  # then there is nothing to derive from
    folder = run_model(tmp_path / "direct", "blend", "magpie+structure", (without_shear, splits, blocks))
    assert YOUNG in json.loads((folder / "targets.json").read_text())["targets"]


def test_same_seed_same_predictions_and_saved_models_repeat_them(tmp_path, boosted, inputs):
    again = run_model(tmp_path / "again", "lightgbm", "magpie+structure", inputs)
    assert (again / "predictions.csv").read_bytes() == (boosted / "predictions.csv").read_bytes()
    other = run_model(tmp_path / "other", "lightgbm", "magpie+structure", inputs, seed=2)
    assert (other / "predictions.csv").read_bytes() != (boosted / "predictions.csv").read_bytes()
    rows = read_predictions(boosted / "predictions.csv")
    rows = rows[(rows["fold"] == "2") & (rows["target"] == BULK)]
    loaded = predict_fold(boosted / "folds" / "2", inputs[2], rows["material_id"].tolist())
    np.testing.assert_array_equal(loaded[BULK].to_numpy(), rows["y_pred"].to_numpy())


@pytest.mark.parametrize("damaged", [False, True])
def test_finished_folds_survive_an_interruption_unless_they_were_damaged(
    tmp_path, boosted, inputs, monkeypatch, damaged
):
    fit_fold, fitted = cross_validation._fit_fold, []

    def interrupted(job, *arguments):
        if job.fold == "1" and "1" not in fitted:
            fitted.append("1")
            raise KeyboardInterrupt
        fitted.append(job.fold)
        return fit_fold(job, *arguments)

    monkeypatch.setattr(cross_validation, "_fit_fold", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_model(tmp_path / "random", "lightgbm", "magpie+structure", inputs)
    assert not (tmp_path / "random").exists()
    if damaged:
        trees = next((tmp_path / ".unfinished-random/0").glob(f"{BULK}*.txt"))
        trees.write_text(trees.read_text().replace("leaf_value=", "leaf_value=1", 1))
    run_model(tmp_path / "random", "lightgbm", "magpie+structure", inputs)
    assert fitted == (["0", "1", "0", "1", "2"] if damaged else ["0", "1", "1", "2"])
    assert [path.name for path in tmp_path.iterdir()] == ["random"]
    assert (tmp_path / "random/predictions.csv").read_bytes() == (boosted / "predictions.csv").read_bytes()


def test_importance_finds_the_block_that_carries_the_property(boosted, inputs):
    _, splits, blocks = inputs
    shares = block_importance(boosted, splits, blocks, seed=0).set_index(["target", "block"])
    np.testing.assert_allclose(shares[["share", "net_share"]].groupby("target").sum(), 1.0)
    assert shares.loc[(SHEAR, "magpie"), "share"] > 0.9
    assert 0.1 < shares.loc[(BULK, "structure"), "share"] < 0.6


@pytest.mark.parametrize("model", ["lightgbm", "blend"])
def test_the_zero_of_atomization_energies_has_its_share_and_no_other_target_has_one(tmp_path, inputs, model):
    materials, splits, blocks = inputs
    one_fold = splits[(splits["split"] == "random") & (splits["fold"] == "0")]
    cohesive = pd.DataFrame({"e": np.random.default_rng(4).uniform(1, 8, len(materials))}, index=materials.material_id)
    given = BlockData(blocks.tables | {"cohesive_energy": cohesive})
    gained = -0.5 * blocks.tables["magpie"]["a"].to_numpy()
    labelled = materials.assign(atomization_energy_ev_per_atom=gained + cohesive["e"].to_numpy())
    features = "magpie+cohesive_energy"
    folder = tmp_path / model / set_name(features) / "random"
    run(model, features, "random", labelled, one_fold, given, SETTINGS[model], 8, folder, seed=1, threads=1)
    shares = block_importance(folder, splits, given, seed=0).set_index(["target", "block"])["share"]
    assert shares[ATOMIZATION_ENERGY, "cohesive_energy"] == pytest.approx(1.75 / 1.875, abs=0.05)  # mean deviations
    assert list(shares[BULK].index) == ["magpie"]
    assert shares[ATOMIZATION_ENERGY].sum() == pytest.approx(1)


@pytest.mark.parametrize("features", ["magpie+structure+latent", "latent", "magpie"])
def test_importance_of_the_attention_cnn(tmp_path, inputs, features, monkeypatch):
    monkeypatch.setattr("rho2prop.evaluation.importance.CNN_SAMPLES", 4)
    monkeypatch.setattr("rho2prop.evaluation.importance.CNN_ROWS", 5)
    materials, splits, blocks = inputs
    one_fold = splits[(splits["split"] == "random") & (splits["fold"] == "0")]
    folder = run_model(tmp_path / "cnn", "attention_cnn", features, (materials, one_fold, blocks))
    shares = block_importance(folder, splits, blocks, seed=0)
    assert set(shares["block"]) == set(features.split("+"))
    np.testing.assert_allclose(shares.groupby("target")[["share", "net_share"]].sum(), 1.0)
    assert (shares[["share", "net_share"]] > 0).all(axis=None)


@pytest.mark.parametrize(
    ("model", "features", "message"),
    [
        ("mean", "magpie", "The mean takes"),
        ("lightgbm", "none", "The mean takes"),
        ("lightgbm", "latent", "Use latent_pca"),
        ("lightgbm", "cohesive_energy", "not a feature"),
        ("forest", "magpie", "unknown model 'forest'"),
    ],
)
def test_impossible_combinations_are_refused(tmp_path, inputs, model, features, message):
    materials, splits, blocks = inputs
    with pytest.raises(InputError, match=message):
        run(model, features, "random", materials, splits, blocks, SETTINGS.get(model, {}), 8, tmp_path / "x", 1)
