"""Errors inside the training parts of the folds of a finished run, by which models and features are selected.

``python benchmarks/held_out_scores.py RUN/results blend no_density magpie,structure --size 100``

A feature set is named as in config.yaml or config/study.yaml, or written as its blocks with commas between.

Of each fold of the split chemical_system the test part is left out; from the rest chemical systems are held out,
the model is fitted as in the workflow to what remains (with one LightGBM trial) and scored on those held out.
"""

import argparse
import tempfile
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from tqdm import tqdm

from rho2prop.core.targets import TARGETS
from rho2prop.crystals.elasticity import derive_from_kg
from rho2prop.features.design_matrix import fit_design, read_blocks
from rho2prop.features.feature_sets import resolve
from rho2prop.materials.collection import read_materials
from rho2prop.materials.splits import derived_seed, read_splits
from rho2prop.models import estimator
from rho2prop.models.registry import MODELS

SPLIT, HELD_OUT, VALIDATION = "chemical_system", 0.15, 0.15  # shares of what a fold may learn from
ROOT = Path(__file__).parents[1]
DEFAULTS = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
BOOSTING = {"n_trials": 1, "max_rounds": 1200, "patience": 60, "learning_rate": [0.05, 0.1], "max_bin": 31}


def parts(materials: pd.DataFrame, splits: pd.DataFrame, fold: str, repeat: int, size: int | None) -> list[list[str]]:
    """Ids to learn from, to validate with and held out, by whole chemical systems, none of the fold's test part."""
    rows = splits[(splits["split"] == SPLIT) & (splits["fold"] == fold) & (splits["part"] != "test")]
    systems = materials.set_index("material_id")["chemical_system"].loc[sorted(rows["material_id"])]
    rng = np.random.default_rng(derived_seed(repeat, "held out", fold))
    order = rng.permutation(systems.unique())
    share = systems.value_counts().loc[order].cumsum().to_numpy() / len(systems)
    group = dict(zip(order, np.searchsorted([HELD_OUT, HELD_OUT + VALIDATION], share), strict=True))
    held, validation, train = (systems.index[systems.map(group) == number].tolist() for number in range(3))
    if size is not None:
        chosen = set(rng.permutation(train + validation)[:size])
        train, validation = ([name for name in part if name in chosen] for part in (train, validation))
    return [train, validation, held]


def blocks_of(features: str) -> list[str]:
    """Blocks of a feature set."""
    sets = {}
    for name in ("config.yaml", "config/study.yaml"):
        sets |= yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))["feature_sets"]
    return list(resolve(sets).get(features, features.split(",")))


def errors(results: Path, model: str, features: str, repeats: int, size: int | None) -> pd.Series:
    """Mean absolute error of each target over all that was held out."""
    names = blocks_of(features)
    materials, splits = read_materials(results / "materials.csv"), read_splits(results / "splits.csv")
    blocks = read_blocks({block: results / "features" / f"{block}.csv" for block in names}, {})
    labels = materials.set_index("material_id")[list(TARGETS)].astype(float)
    settings = MODELS[model].settings_of(MODELS[model].content(DEFAULTS | {"lightgbm": BOOSTING}))
    derived = MODELS[model].targets_not_learned(list(TARGETS))
    targets = [target for target in TARGETS if target not in derived]
    folds = sorted(splits.loc[splits["split"] == SPLIT, "fold"].unique())
    found = []
    for fold, repeat in tqdm(list(product(folds, range(repeats))), desc=features, unit="fit"):
        train, validation, held = parts(materials, splits, fold, repeat, size)
        design = fit_design(names, blocks, SPLIT, fold, train, 0, 0)
        seen, validating, unseen = (design.apply(blocks, SPLIT, fold, ids) for ids in (train, validation, held))
        data = estimator.FoldData(seen, labels.loc[train, targets], validating, labels.loc[validation, targets])
        with tempfile.TemporaryDirectory() as folder:
            fitting = estimator.Fitting(settings, partial(derived_seed, repeat), 1)
            estimator.fit(model, data, fitting, Path(folder))
            predictor = estimator.load(Path(folder), model, targets)
            predicted = pd.DataFrame(predictor(unseen), index=pd.Index(held, name="material_id"))
        following = derive_from_kg(predicted, materials).drop(columns=targets, errors="ignore")
        predicted = predicted.join(following)
        found.append((predicted - labels.loc[held, predicted.columns]).abs())
    return pd.concat(found).mean()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("model", choices=["lightgbm", "gaussian_process", "blend"])
    parser.add_argument("features", nargs="+")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--size", type=int, help="materials to learn from, validation included; all by default")
    given = parser.parse_args()
    rows = {name: errors(given.results, given.model, name, given.repeats, given.size) for name in given.features}
    print(pd.DataFrame(rows).T.rename(columns=lambda name: TARGETS[name].symbol).round(3).to_string())
