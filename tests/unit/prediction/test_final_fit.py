import numpy as np
import pytest
from standins.folds import make_inputs, run_model
from standins.refusals import refused

from rho2prop.crystals.elasticity import BULK, POISSON, SHEAR, YOUNG, derive_from_kg
from rho2prop.evaluation.cross_validation import predict_fold
from rho2prop.evaluation.final_models import judge_final_models, read_offered
from rho2prop.evaluation.settings import Choice
from rho2prop.prediction.final_fit import COLUMNS, predict

pytestmark = pytest.mark.slow

FEATURES = "magpie+structure"
CHOICE = Choice("lightgbm", "magpie_structure")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    inputs = make_inputs()
    folder = tmp_path_factory.mktemp("trained")
    for split in ("random", "all"):
        run_model(folder / split, "lightgbm", FEATURES, inputs, split)
    return folder, inputs


def offered(folder):
    judged = judge_final_models([folder / "all"], [folder / "random"], 0.9)
    judged.to_csv(folder / "final_models.csv", index=False)
    return read_offered(folder / "final_models.csv")


def test_values_come_from_the_final_model_and_spread_from_the_folds(trained):
    folder, (materials, _, blocks) = trained
    new = materials.iloc[[5, 2, 40]]
    ids = new["material_id"].tolist()
    result = predict(CHOICE, folder / "all", folder / "random", blocks, new, offered(folder))
    assert list(result.columns) == COLUMNS
    bulk = result[(result["target"] == BULK) & (result["model"] == "lightgbm")]
    assert bulk["material_id"].tolist() == ids
    assert bulk["formula"].tolist() == new["formula"].tolist()
    assert set(bulk["unit"]) == {"GPa"}
    final = predict_fold(folder / "all/folds/final", blocks, ids)
    folds = [predict_fold(folder / f"random/folds/{fold}", blocks, ids)[BULK] for fold in "012"]
    np.testing.assert_array_equal(bulk["value"], final[BULK])
    np.testing.assert_allclose(bulk["fold_std"], np.std(folds, axis=0, ddof=1))

    derived = derive_from_kg(final[[BULK, SHEAR]], materials)
    rows = result[(result["model"] == "lightgbm_from_kg") & (result["target"] == "debye_temperature_k")]
    np.testing.assert_allclose(rows["value"], derived["debye_temperature_k"])
    assert set(rows["unit"]) == {"K"}
    assert (rows["fold_std"] > 0).all()


def test_the_final_model_learns_from_training_and_validation_rows(trained):
    folder, (materials, _, blocks) = trained
    fitted = predict_fold(folder / "all/folds/final", blocks, materials["material_id"].tolist())
    error = fitted[BULK].to_numpy() - materials[BULK].to_numpy()
    assert np.sqrt(np.mean(error**2)) < 0.3 * materials[BULK].std()


def test_predictions_do_not_depend_on_the_company(trained):
    folder, (materials, _, blocks) = trained
    arguments = CHOICE, folder / "all", folder / "random", blocks
    alone = predict(*arguments, materials.iloc[[7]], offered(folder))
    among = predict(*arguments, materials.iloc[:20], offered(folder))
    among = among[among["material_id"] == "m007"]
    np.testing.assert_array_equal(alone["value"], among["value"])


def test_what_is_not_offered_is_not_predicted(trained):
    folder, (materials, _, blocks) = trained
    everything = offered(folder)
    without = {key for key in everything if key[2] not in (BULK, YOUNG)}
    arguments = CHOICE, folder / "all", folder / "random", blocks, materials.iloc[[7]]
    whole, rest = predict(*arguments, everything), predict(*arguments, without)
    missing = set(whole[["model", "target"]].itertuples(index=False)) - set(
        rest[["model", "target"]].itertuples(index=False)
    )
    assert missing == {
        ("lightgbm", BULK), ("lightgbm", YOUNG), ("lightgbm_from_kg", YOUNG), ("lightgbm_from_kg", POISSON)
    }  # fmt: skip


def test_the_wrong_folder_and_a_missing_one_are_named(trained, tmp_path):
    folder, (materials, _, blocks) = trained
    with refused("attention_cnn", "magpie"):
        predict(Choice("attention_cnn", "magpie"), folder / "all", folder / "random", blocks, materials, set())
    with refused(str(tmp_path)):
        predict(CHOICE, tmp_path, folder / "random", blocks, materials, set())
