"""Coverage of the intervals of final models on materials held out from everything.

    python benchmarks/held_out_coverage.py runs/bench/results --config config/bench.yaml --repeats 3 --out coverage.csv

reads features, latents and labels of a finished run. In each repeat a fifth of the chemical systems is held out; on
the rest folds are drawn, fold models and final models fitted as the workflow does, and the final models judged. Then
the final models predict the held-out materials. Printed, over all repeats: how often the model was offered, its mean
absolute error, and the share of values inside the intervals with its binomial standard error. (The autoencoder has seen
the densities, not labels.)
"""

import argparse
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from rho2prop.core.targets import SPREAD, TARGETS, spread_of
from rho2prop.crystals.elasticity import derive_from_kg
from rho2prop.evaluation.cross_validation import Regression, RegressionData, predict_fold, run
from rho2prop.evaluation.final_models import judge_final_models
from rho2prop.evaluation.intervals import calibrations
from rho2prop.evaluation.plan import Plan
from rho2prop.features.block_files import block_data
from rho2prop.materials.collection import read_materials
from rho2prop.materials.splits import FINAL_FOLD, FINAL_SPLIT, derived_seed, draw_splits
from rho2prop.models.registry import FROM_KG, MODELS

KEPT_BACK, SPLIT = 0.2, "chemical_system"
ROOT = Path(__file__).parents[1]


def one_repeat(results: Path, config: dict, choice: dict, number: int) -> pd.DataFrame:
    """Truth, prediction and interval of every labelled material that was kept back."""
    model, features, coverage = choice["model"], choice["features"], config["intervals"]["coverage"]
    materials = read_materials(results / "materials.csv")
    blocks = block_data([*sorted((results / "features").glob("*.csv")), results / "latents/all.npz"])
    systems = np.unique(materials["chemical_system"])
    rng = np.random.default_rng(derived_seed(config["seed"], "held-out coverage", str(number)))
    kept_back = materials["chemical_system"].isin(rng.permutation(systems)[: round(KEPT_BACK * len(systems))])
    known, unseen = materials[~kept_back], materials[kept_back]
    evaluation = config["evaluation"]
    splits = draw_splits(known, [SPLIT], evaluation["n_folds"], evaluation["validation_fraction"], number)
    with tempfile.TemporaryDirectory() as folder:
        final, folds = Path(folder) / FINAL_SPLIT, Path(folder) / SPLIT
        for out in (final, folds):
            settings = MODELS[model].settings_of(MODELS[model].content(config))
            components, names = config["features"]["latent_pca_components"], tuple(Plan(config).blocks(features))
            regression = Regression(model, features, names, out.name, settings, components, number)
            run(regression, RegressionData(known, splits, blocks), out)
        judged = judge_final_models([final], [folds], coverage)
        offered = set(judged.loc[judged["is_offered"], ["model", "target"]].itertuples(index=False, name=None))
        predicted = predict_fold(final / "folds" / FINAL_FOLD, blocks, unseen["material_id"].tolist(), with_spread=True)
        given = calibrations(folds, coverage)
    labels = unseen.set_index("material_id")
    frames = []
    for suffix, values in (("", predicted), (FROM_KG, derive_from_kg(predicted, unseen))):
        for target in (name for name in values if not name.endswith(SPREAD)):
            is_known = labels[target].notna()
            y_true, y_pred = labels.loc[is_known, target].to_numpy(), values.loc[is_known, target].to_numpy()
            spread = values.loc[is_known, spread_of(target)].to_numpy() if spread_of(target) in values else None
            lower, upper = given[model + suffix, target].bounds(y_pred, coverage, spread)
            rows = {"model": model + suffix, "features": features, "target": target, "repeat": number}
            rows |= {"is_offered": (model + suffix, target) in offered, "error": np.abs(y_true - y_pred)}
            frames.append(pd.DataFrame(rows | {"is_inside": (lower <= y_true) & (y_true <= upper)}))
    return pd.concat(frames)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="folder results/ of a finished run")
    parser.add_argument("--config", type=Path, action="append", default=[], help="as given to Snakemake")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    for path in options.config:
        for section, values in yaml.safe_load(path.read_text()).items():
            config[section] = config[section] | values if isinstance(values, dict) else values
    with ProcessPoolExecutor(options.jobs) as pool:
        tasks = [
            pool.submit(one_repeat, options.results, config, choice, number)
            for number in range(options.repeats)
            for choice in config["predict"]
        ]
        rows = pd.concat([task.result() for task in tasks])
    order = {target: number for number, target in enumerate(TARGETS)}
    table = (
        rows.groupby(["model", "features", "target"], sort=False)
        .agg(n=("error", "size"), offered=("is_offered", "mean"), mae=("error", "mean"), coverage=("is_inside", "mean"))
        .reset_index()
        .sort_values(["model", "target"], key=lambda column: column.map(lambda value: order.get(value, value)))
    )
    table["standard_error"] = np.sqrt(table["coverage"] * (1 - table["coverage"]) / table["n"])
    print(table.round(3).to_string(index=False))
    if options.out:
        table.round(4).to_csv(options.out, index=False)


if __name__ == "__main__":
    main()
