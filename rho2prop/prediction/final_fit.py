"""Predictions for new materials by the models on disk; nothing is fitted."""

from pathlib import Path

import numpy as np
import pandas as pd

from rho2prop.core.errors import InputError
from rho2prop.core.targets import TARGETS
from rho2prop.crystals.elasticity import BULK, POISSON, SHEAR, YOUNG, derive_from_kg, poisson_ratio
from rho2prop.evaluation.cross_validation import predict_fold
from rho2prop.evaluation.fold_results import is_trained, read_summary
from rho2prop.evaluation.settings import Choice
from rho2prop.features.design_matrix import BlockData
from rho2prop.materials.splits import FINAL_FOLD
from rho2prop.models.registry import FROM_KG

COLUMNS = ["material_id", "formula", "target", "unit", "value", "model", "features", "fold_std"]


def predict(
    choice: Choice,
    final_dir: Path | str,
    cv_dir: Path | str,
    blocks: BlockData,
    materials: pd.DataFrame,
    offered: set[tuple[str, str, str]],
) -> pd.DataFrame:
    """Predict the properties of materials.

    Parameters
    ----------
    choice
        Model and feature set, as in the configuration; checked against the folders.
    final_dir
        Regression folder of the split ``all``: its model gives the values.
    cv_dir
        Regression folder of the first configured split: the spread of its fold models is ``fold_std``.
    blocks
        Features of the materials (with an autoencoder for each fold: latents of each scope).
    materials
        Rows to predict: ``material_id, formula, volume_per_atom_ang3``.
    offered
        Model, features and target of what is predicted (``rho2prop.evaluation.final_models``): others are left out.
        Poisson's ratio goes with Young's modulus.

    Returns
    -------
    pandas.DataFrame
        Columns of ``results/predictions.csv``. Rows with the model ``<model>_from_kg`` are E, Θ and Poisson's ratio
        that follow from the predicted K and G. ``fold_std`` is the sample standard deviation over fold models, in
        the unit of the target; NaN where the cross-validation has fewer than two models of that target.
    """
    final_dir, cv_dir = Path(final_dir), Path(cv_dir)
    for folder in (final_dir, cv_dir):
        _check(folder, choice)
    if not (is_trained(final_dir) and is_trained(cv_dir)):  # too few labels: left out with a note
        return pd.DataFrame(columns=COLUMNS)
    ids = materials["material_id"].astype(str).tolist()
    formulas = materials.set_index("material_id")["formula"]
    final = predict_fold(final_dir / "folds" / FINAL_FOLD, blocks, ids)
    folds = read_summary(cv_dir)["n_train"]
    spread = [predict_fold(cv_dir / "folds" / fold, blocks, ids) for fold in folds]
    frames = [_long(final, spread, choice, formulas)]
    derived = _derived(final, materials)
    if len(derived.columns):
        derived_spread = [_derived(one, materials) for one in spread]
        of_kg = Choice(choice.model + FROM_KG, choice.features)
        frames.append(_long(derived, derived_spread, of_kg, formulas))
    table = pd.concat(frames, ignore_index=True)[COLUMNS]
    judged = zip(table["model"], table["features"], table["target"].replace(POISSON, YOUNG), strict=True)
    return table[[key in offered for key in judged]].reset_index(drop=True)


def _derived(predicted: pd.DataFrame, materials: pd.DataFrame) -> pd.DataFrame:
    derived = derive_from_kg(predicted, materials)
    if len(derived.columns):
        derived[POISSON] = poisson_ratio(predicted[BULK], predicted[SHEAR])
    return derived


def _long(values: pd.DataFrame, spread: list[pd.DataFrame], choice: Choice, formulas: pd.Series) -> pd.DataFrame:
    frames = []
    for target in values:
        of_folds = [one[target].to_numpy() for one in spread if target in one]
        std = np.std(of_folds, axis=0, ddof=1) if len(of_folds) > 1 else np.full(len(values), np.nan)
        columns = {
            "material_id": values.index,
            "formula": formulas.loc[values.index].to_numpy(),
            "target": target,
            "unit": TARGETS[target].unit if target in TARGETS else "1",
            "value": values[target].to_numpy(),
            "model": choice.model,
            "features": choice.features,
            "fold_std": std,
        }
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames)


def _check(folder: Path, choice: Choice) -> None:
    found = read_summary(folder)
    if (found["model"], found["features"]) != (choice.model, choice.features):
        problem = f"holds {found['model']} on {found['features']}, wanted {choice}"
        raise InputError(folder / "targets.json", problem, "Give the folder of the selected model")
