import numpy as np
import pytest
from test_regression import BULK, SHEAR, make_inputs, run_model

from rho2prop.elasticity import derive_from_kg
from rho2prop.errors import InputError
from rho2prop.prediction import COLUMNS, predict
from rho2prop.regression import predict_fold

FEATURES = "magpie+structure"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    inputs = make_inputs()
    folder = tmp_path_factory.mktemp("trained")
    for split in ("random", "all"):
        run_model(folder / split, "lightgbm", FEATURES, inputs, split)
    return folder, inputs


def test_values_come_from_the_final_model_and_spread_from_the_folds(trained):
    folder, (materials, _, blocks) = trained
    new = materials.iloc[[5, 2, 40]]
    ids = new["material_id"].tolist()
    result = predict("lightgbm", FEATURES, folder / "all", folder / "random", blocks, new)
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
    arguments = "lightgbm", FEATURES, folder / "all", folder / "random", blocks
    alone = predict(*arguments, materials.iloc[[7]])
    among = predict(*arguments, materials.iloc[:20])
    among = among[among["material_id"] == "m007"]
    np.testing.assert_array_equal(alone["value"], among["value"])


def test_the_wrong_folder_and_a_missing_one_are_named(trained, tmp_path):
    folder, (materials, _, blocks) = trained
    with pytest.raises(InputError, match="wanted attention_cnn on magpie"):
        predict("attention_cnn", "magpie", folder / "all", folder / "random", blocks, materials)
    with pytest.raises(InputError, match="there is no trained model"):
        predict("lightgbm", FEATURES, tmp_path, folder / "random", blocks, materials)
