"""Accuracy and spread of the attention CNN for different training settings: errors on validation parts.

    python benchmarks/network_settings.py runs/bench/results --split chemical_system --out settings.csv

reads splits, labels, MAGPIE and averaged latents of a finished run, fits all folds of one split with each setting below
(side by side with --jobs) and prints, for K and G: the mean absolute error of the validation parts over the folds, its
spread from fold to fold, and seconds of one fold. Test parts are neither scored nor shown: this table chooses settings.
"""

import argparse
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from rho2prop.evaluation.cross_validation import Regression, RegressionData, run
from rho2prop.evaluation.fold_results import read_predictions
from rho2prop.features.design_matrix import read_blocks
from rho2prop.materials.collection import read_materials
from rho2prop.materials.splits import read_splits
from rho2prop.models.registry import MODELS

MODEL, FEATURES, BLOCKS = "attention_cnn", "magpie_latent", ("magpie", "latent")
CONFIG = Path(__file__).parents[1] / "config.yaml"
DEFAULTS = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))[MODEL]
SETTINGS = {
    "40 epochs, stopped after 8, 2 trials": dict(max_epochs=40, patience=8, batch_size=32, n_trials=2),
    "40 epochs, 2 trials": dict(max_epochs=40, patience=40, batch_size=32, n_trials=2),
    "100 epochs, 2 trials": dict(max_epochs=100, patience=100, batch_size=32, n_trials=2),
    "100 epochs, 4 trials": dict(max_epochs=100, patience=100, batch_size=32, n_trials=4),
    "100 epochs of 16, 2 trials": dict(max_epochs=100, patience=100, batch_size=16, n_trials=2),
    "200 epochs, 2 trials": dict(max_epochs=200, patience=200, batch_size=32, n_trials=2),
    "100 epochs, 4 trials, wide": dict(max_epochs=100, patience=100, batch_size=32, n_trials=4, channels=[32, 64]),
}


def errors(results: Path, split: str, name: str) -> dict:
    """One line of the table."""
    materials = read_materials(results / "materials.csv")
    blocks = read_blocks({"magpie": results / "features/magpie.csv"}, {"all": results / "latents/all.npz"})
    splits = read_splits(results / "splits.csv", materials["material_id"])
    settings = MODELS[MODEL].settings_of(DEFAULTS | SETTINGS[name])
    regression = Regression(MODEL, FEATURES, BLOCKS, split, settings, n_components=1, seed=1)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / split
        run(regression, RegressionData(materials, splits, blocks), out)
        rows = read_predictions(out / "validation.csv")
    seconds = (time.perf_counter() - started) / rows["fold"].nunique()
    line = {"settings": name}
    for target, symbol in (("bulk_modulus_gpa", "K"), ("shear_modulus_gpa", "G")):
        of_target = rows[rows["target"] == target]
        by_fold = (of_target["y_true"] - of_target["y_pred"]).abs().groupby(of_target["fold"]).mean()
        line |= {f"{symbol}_mae_gpa": by_fold.mean(), f"{symbol}_spread_gpa": np.std(by_fold, ddof=1)}
    return line | {"seconds_a_fold": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="folder results/ of a finished run")
    parser.add_argument("--split", default="chemical_system")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with ProcessPoolExecutor(options.jobs) as pool:
        found = [pool.submit(errors, options.results, options.split, name) for name in SETTINGS]
        table = pd.DataFrame([one.result() for one in found]).round(3)
    print(table.to_string(index=False))
    if options.out:
        table.to_csv(options.out, index=False)


if __name__ == "__main__":
    main()
