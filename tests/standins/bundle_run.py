"""A small finished run with every part that a model bundle is made of, from densities that are made here."""

import json
from dataclasses import fields, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from pymatgen.core import Structure
from standins.networks import cnn_section
from standins.training import train_on

from rho2prop.__main__ import main
from rho2prop.autoencoder import encoding, training
from rho2prop.autoencoder.request import TrainingSettings
from rho2prop.core.tables import write_table
from rho2prop.core.targets import TARGETS
from rho2prop.crystals.elasticity import derive_from_kg
from rho2prop.crystals.structures import structure_from_density
from rho2prop.densities.density import Density, write_npz
from rho2prop.densities.grids import Grid
from rho2prop.dft.base import run_material
from rho2prop.dft.files import FilesSettings
from rho2prop.evaluation.cross_validation import Regression, RegressionData, run
from rho2prop.evaluation.final_models import judge_final_models
from rho2prop.evaluation.intervals import evaluate_intervals
from rho2prop.evaluation.plan import Plan
from rho2prop.evaluation.settings import choices
from rho2prop.features.block_files import block_data, write_block
from rho2prop.features.description import block_tables
from rho2prop.features.registry import BLOCKS, TABLE
from rho2prop.materials.collection import material_row
from rho2prop.materials.splits import draw_splits
from rho2prop.models.registry import MODELS
from rho2prop.prediction.bundle.writer import FinishedRun, write_bundle
from rho2prop.prediction.new_materials import PredictionFiles, describe_material, predict_all

ELEMENTS = (3, 5, 8, 11, 12, 13, 14, 17)
SPLIT = "chemical_system"
ENGINE = "gpaw 25.7.0"
NEW = "new-one"
CONFIG = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text()) | {
    "materials": "/somewhere/materials.csv",
    "grid": {"kind": "window", "size": 16, "voxel_ang": 0.4},
    "lightgbm": {"n_trials": 1, "max_rounds": 40, "patience": 10, "learning_rate": [0.05, 0.2], "max_bin": 31},
    "attention_cnn": cnn_section(n_trials=1, max_epochs=4, patience=4, batch_size=16, channels=[4]),
    "intervals": {"coverage": 0.8},
    "predict": [
        {"model": "lightgbm", "features": "magpie_fingerprint"},
        {"model": "attention_cnn", "features": "magpie_latent"},
    ],
}
CONFIG["dft"]["vasp"]["machine"]["binary"] = "/somewhere/vasp_std"


def made_density(numbers=(12, 8), edges_ang=(4.2, 4.4, 4.6), shape=(12, 14, 16), electrons=8.0) -> Density:
    """Two smooth atoms in an orthorhombic cell; the second holds more electrons the heavier it is."""
    lattice = np.diag(np.array(edges_ang, dtype=float))
    coordinates = np.array([[0.1, 0.2, 0.3], [0.6, 0.55, 0.8]])
    points = np.stack(np.meshgrid(*[np.arange(n) / n for n in shape], indexing="ij"), axis=-1)
    values = np.full(shape, 0.05)
    for number, centre in zip(numbers, coordinates, strict=True):
        offset = (points - centre + 0.5) % 1 - 0.5
        distance_squared = np.sum((offset @ lattice) ** 2, axis=-1)
        values += (1 + number / 10) * np.exp(-distance_squared / (0.6 + 0.02 * number))
    values *= electrons / (values.mean() * np.prod(edges_ang))
    return Density(values.astype(np.float32), lattice, np.array(numbers), coordinates, electrons, "valence", ENGINE)


def training_set() -> dict[str, Density]:
    """One binary for each pair of elements, in cells of different size."""
    rng = np.random.default_rng(4)
    return {
        f"m{i:02d}": made_density(pair, rng.uniform(3.6, 5.2, 3), electrons=float(rng.integers(4, 12)))
        for i, pair in enumerate(combinations(ELEMENTS, 2))
    }


def write_results(folder: Path, config: dict = CONFIG, labelled: tuple[str, ...] = tuple(TARGETS)) -> FinishedRun:
    """Densities, features, autoencoder, regressions and tables, as the workflow writes them to ``results``.

    ``labelled``: properties that the table has labels of.
    """
    densities, dft = training_set(), folder / "dft"
    for name, density in densities.items():
        write_npz(density, dft / name / "density.npz")
    paths, plan = [(name, dft / name / "density.npz") for name in densities], Plan(config)
    wanted = {"magpie", "fingerprint", *plan.blocks_of(plan.predict)}
    tables = block_tables(paths, [block for block in BLOCKS if block in wanted and BLOCKS[block].form == TABLE])
    for block, table in tables.items():
        write_block(table, folder / f"{block}.csv")
    magpie, fingerprints = tables["magpie"], tables["fingerprint"]
    materials = pd.DataFrame(_labelled_rows(densities, magpie, fingerprints))
    exact = derive_from_kg(materials.set_index("material_id")[["bulk_modulus_gpa", "shear_modulus_gpa"]], materials)
    for target in exact:
        materials[target] = exact[target].to_numpy()
    materials.loc[:, [target for target in TARGETS if target not in labelled]] = np.nan
    write_table(materials, folder / "materials.csv")

    keys = [field.name for field in fields(TrainingSettings)]
    settings = TrainingSettings(**{key: CONFIG["autoencoder"][key] for key in keys})
    settings = replace(settings, latent_size=4, max_epochs=1, precision="fp32", threads=1)
    grid = Grid(**CONFIG["grid"])
    split = training.split_80_10_10(list(densities), 1)
    autoencoder = folder / "autoencoder"
    train_on(paths, split, settings, grid, autoencoder, seed=1)
    latents = encoding.encode_files(autoencoder, paths, grid, 1)
    encoding.write_latents(folder / "all.npz", list(densities), *latents)

    splits = draw_splits(materials, [SPLIT], 3, 0.2, 7)
    blocks = block_data([*(folder / f"{block}.csv" for block in tables), folder / "all.npz"])
    data, final, folds = RegressionData(materials, splits, blocks), [], []
    for choice in config["predict"]:
        model, features = choice["model"], choice["features"]
        names, settings = tuple(plan.blocks(features)), MODELS[model].settings_of(plan.settings_of(model))
        for split_name, kept in ((SPLIT, folds), ("all", final)):
            out = folder / "regression" / model / features / split_name
            run(Regression(model, features, names, split_name, settings, 8, 1), data, out)
            kept.append(str(out))
    coverage = CONFIG["intervals"]["coverage"]
    write_table(evaluate_intervals(folds, final, coverage), folder / "intervals.csv")
    write_table(judge_final_models(final, folds, coverage), folder / "final_models.csv")
    return FinishedRun(
        materials=folder / "materials.csv",
        features=[folder / "magpie.csv", folder / "fingerprint.csv"],
        autoencoder=autoencoder,
        final=final,
        folds=folds,
        intervals=folder / "intervals.csv",
        judged=folder / "final_models.csv",
    )


def _labelled_rows(densities: dict[str, Density], magpie: pd.DataFrame, fingerprints: pd.DataFrame) -> list[dict]:
    rows = []
    for name, density in densities.items():
        labels = {
            "bulk_modulus_gpa": 20 + 400 * fingerprints.loc[name, "mean_rho"],
            "shear_modulus_gpa": 10 + 200 * fingerprints.loc[name, "mean_rho"],
            "atomization_energy_ev_per_atom": 0.3 * magpie.loc[name, "MagpieData range Electronegativity"],
        }
        rows.append(material_row(name, density, "", labels))
    return rows


def workflow_predictions(run_files: FinishedRun, density: Density, folder: Path) -> pd.DataFrame:
    """What the workflow itself predicts for a new material: engine, features and models from the run's own folders."""
    given, poscar = folder / "given.npz", folder / "given.vasp"
    write_npz(density, given)
    structure: Structure = structure_from_density(density)
    structure.to(str(poscar), fmt="poscar")
    dft, new = folder / "dft" / NEW, folder / "new" / NEW
    run_material(NEW, poscar, str(given), "files", FilesSettings("valence", "as_given"), dft)
    scope_all = folder / "scopes" / "all"
    scope_all.parent.mkdir(parents=True)
    scope_all.symlink_to(run_files.autoencoder)
    describe_material(NEW, dft, [str(scope_all)], str(poscar), ["magpie", "fingerprint"], Grid(**CONFIG["grid"]), new)
    out = folder / "predictions.csv"
    files = PredictionFiles(
        run_files.materials, run_files.final, run_files.folds, [str(dft)], [str(new)], run_files.judged
    )
    predict_all(choices(CONFIG["predict"]), files, out, folder / "outcomes.csv")
    return pd.read_csv(out, float_precision="round_trip")


_MADE: dict[str, tuple[FinishedRun, Path]] = {}


def finished_run(tmp_path_factory) -> tuple[FinishedRun, Path]:
    """The run and its bundle, made once for all test files."""
    if "run" not in _MADE:
        folder = tmp_path_factory.mktemp("bundle_run")
        run_files = write_results(folder)
        write_bundle(run_files, CONFIG, folder / "models")
        _MADE["run"] = run_files, folder / "models"
    return _MADE["run"]


def edit_manifest(folder: Path, **changes) -> None:
    """Change keys of a manifest as a careless user or a newer program would."""
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def of_engine(density: Density, engine: str) -> Density:
    """The same density with another signature."""
    return replace(density, engine=engine)


def run_command(capsys, *arguments):
    """Exit code, stdout and the lines of stderr that are not a progress bar."""
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    lines = [line for line in captured.err.replace("\r", "\n").split("\n") if line.strip()]
    return code, captured.out, [line for line in lines if not line.startswith("predictions:")]
