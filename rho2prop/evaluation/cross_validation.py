"""Regression of the properties, fold by fold: fit, predict the test part, write models and predictions."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from rho2prop.core.atomic_files import atomic
from rho2prop.core.errors import InputError
from rho2prop.core.jobs.code_digest import code_digest
from rho2prop.core.jobs.provenance import content_digest
from rho2prop.core.targets import TARGETS
from rho2prop.crystals.elasticity import BULK, SHEAR, derive_from_kg
from rho2prop.densities.field_names import field_of
from rho2prop.evaluation.metrics import score
from rho2prop.features.design_matrix import GRAPH, LATENT, BlockData, block_names, fit_design, load_design
from rho2prop.materials.splits import derived_seed
from rho2prop.models import families
from rho2prop.models.registry import (
    LEAST_LABELS,
    LEAST_NETWORK_ROWS,
    LEAST_TRAIN_LABELS,
    MODELS,
    SINGLE_TASK,
    check,
)

FROM_KG = "_from_kg"
TESTED, VALIDATED = "test_predictions.csv", "validation_predictions.csv"  # of a fold
PREDICTION_COLUMNS = ["fold", "material_id", "target", "y_true", "y_pred"]
METRIC_COLUMNS = ["target", "features", "model", "split", "fold", "n_train", "n_test", "r2", "mae", "rmse"]


def run(
    model: str,
    features: str,
    split: str,
    materials: pd.DataFrame,
    splits: pd.DataFrame,
    blocks: BlockData,
    settings: dict,
    n_components: int,
    out_dir: Path | str,
    seed: int,
    threads: int,
) -> None:
    """Fit and test one model with one feature set on all folds of one split.

    Parameters
    ----------
    model
        Name of a family (``rho2prop.models.families``).
    features
        Block names joined by ``+``; ``none`` for the mean.
    split
        Name of the split; ``all`` has the one fold ``final`` and no test part.
    materials, splits
        The tables ``results/materials.csv`` and ``results/splits.csv``.
    blocks
        Features by block.
    settings
        Section of the configuration with the name of the model; empty for the mean.
    n_components
        Wanted PCA components of the latents.
    out_dir
        Folder to write (see the notes); it appears whole or not at all.
    seed
        Seed of the run; each fold and target derives its own.
    threads
        CPU threads.

    Notes
    -----
    ``predictions.csv`` (test rows with a label), ``predictions_from_kg.csv`` (E and Θ from the predicted K and G, same
    columns; the only ones of families that learn K and G alone; the true values are the labels or, of a property
    without any, what follows from labels of K and G), ``validation.csv`` and ``validation_from_kg.csv`` (the same of
    the validation parts, by models that had not learned from them), ``targets.json`` (targets, those left out and why,
    numbers of training rows) and ``folds/<fold>/`` (models). Finished folds of an interrupted run wait in
    ``.unfinished-<name>`` beside the folder and are taken up again if nothing that they came from has changed.
    """
    out_dir = Path(out_dir)
    check(model, block_names(features))
    labels = materials.set_index("material_id")[list(TARGETS)].astype(float)
    folds = _folds(splits, split)
    targets, left_out = _trainable_targets(model, labels, folds)
    following = families.following_targets(model, targets)
    targets = [target for target in targets if target not in following]
    for target, reason in left_out.items():
        print(f"{model}, {features}, {split}: {target} is left out: {reason}", file=sys.stderr)
    if not targets:
        print(f"{model}, {features}, {split}: left out, no property can be trained", file=sys.stderr)
        folds = {}
    work = out_dir.with_name(f".unfinished-{out_dir.name}")
    work.mkdir(parents=True, exist_ok=True)
    head = json.dumps([model, features, split, settings, n_components, seed, targets], sort_keys=True)
    with tqdm(total=len(folds) * len(targets), desc=f"{model} {features} {split}", unit="fit") as progress:
        for fold, parts in folds.items():
            digest = _digest(head, fold, parts, labels[targets], blocks, features, split)
            if _is_finished(work / fold, digest):
                progress.update(len(targets))
                continue
            with atomic(work / fold) as folder:
                folder.mkdir()
                job = _FoldJob(
                    model,
                    features,
                    split,
                    fold,
                    parts,
                    labels[targets],
                    settings,
                    n_components,
                    seed,
                    threads,
                )
                validated = _fit_fold(job, blocks, folder, progress.update)
                validated.to_csv(folder / VALIDATED)
                tested = predict_fold(folder, blocks, parts["test"])
                _check_finite(tested, f"{model} on {features}, {split}, fold {fold}")
                tested.to_csv(folder / TESTED)
                (folder / "fold.json").write_text(json.dumps(job.record() | {"digest": digest}, indent=1))
            _seal_of(work / fold).write_text(content_digest(work / fold))
    _assemble(out_dir, work, model, features, split, folds, targets, left_out, labels, materials)


def predict_fold(folder: Path, blocks: BlockData, material_ids: list[str]) -> pd.DataFrame:
    """Predictions of the models of one fold, read from disk.

    Returns
    -------
    pandas.DataFrame
        Index ``material_id``, one column per target, in the unit of the target.
    """
    record = json.loads((folder / "fold.json").read_text())
    ids = pd.Index(material_ids, name="material_id", dtype=object)
    if not len(ids):
        return pd.DataFrame(columns=record["targets"], index=ids, dtype=float)
    matrix = load_design(folder).apply(blocks, record["split"], record["fold"], list(material_ids))
    return pd.DataFrame(families.load(folder, record)(matrix), index=ids)[record["targets"]]


def collect_metrics(folders: list[Path | str]) -> pd.DataFrame:
    """Scores of every fold of every regression; E and Θ derived from K and G as model ``<model>_from_kg``.

    Parameters
    ----------
    folders
        Folders that ``run`` wrote.

    Returns
    -------
    pandas.DataFrame
        Columns of ``results/metrics.csv``; ``n_train`` counts training and validation rows with the label
        (of a derived target: the smaller number of K and G).
    """
    rows = []
    for folder in map(Path, folders):
        summary = json.loads((folder / "targets.json").read_text())
        for file, suffix in (("predictions.csv", ""), ("predictions_from_kg.csv", FROM_KG)):
            for (fold, target), group in read_predictions(folder / file).groupby(["fold", "target"], sort=False):
                n_train = summary["n_train"][fold]
                rows.append(
                    {
                        "target": target,
                        "features": summary["features"],
                        "model": summary["model"] + suffix,
                        "split": summary["split"],
                        "fold": fold,
                        "n_train": min(n_train[BULK], n_train[SHEAR]) if suffix else n_train[target],
                        "n_test": len(group),
                        **score(group["y_true"], group["y_pred"]),
                    }
                )
    return pd.DataFrame(rows, columns=METRIC_COLUMNS)


def is_trained(folder: Path | str) -> bool:
    """Whether the regression of a folder has models, or was left out: too few labels for it."""
    path = Path(folder) / "targets.json"
    if not path.is_file():
        raise InputError(
            folder, "holds no regression", "Give a folder that the rule fit_regression or fit_network wrote"
        )
    return bool(json.loads(path.read_text())["targets"])


def read_predictions(path: Path | str) -> pd.DataFrame:
    """Read one of the tables of predictions of a regression; it has the rows that ``targets.json`` beside it counts."""
    path = Path(path)
    text = dict.fromkeys(("fold", "material_id", "target"), str)
    rows = pd.read_csv(path, converters=text, float_precision="round_trip")
    summary = path.with_name("targets.json")
    n_rows = json.loads(summary.read_text()).get("n_rows", {}).get(path.stem) if summary.is_file() else None
    if n_rows not in (None, len(rows)) or rows.isna().any(axis=None):
        problem = f"has {len(rows)} rows, of which {int(rows.isna().any(axis=1).sum())} are incomplete"
        expected = "" if n_rows is None else f"; {n_rows} were written"
        raise InputError(path, problem + expected, f"Delete {path.parent} and fit again")
    return rows


@dataclass(frozen=True)
class _FoldJob:
    model: str
    features: str
    split: str
    fold: str
    parts: dict[str, list[str]]
    labels: pd.DataFrame
    settings: dict
    n_components: int
    seed: int
    threads: int

    def record(self) -> dict:
        rows = self.labels.loc[self.parts["train"] + self.parts["validation"]]
        n_train = {name: int(count) for name, count in rows.notna().sum().items()}
        names = ("model", "features", "split", "fold")
        return {name: getattr(self, name) for name in names} | {
            "targets": list(self.labels),
            "n_train": n_train,
        }


def _fit_fold(job: _FoldJob, blocks: BlockData, folder: Path, advance: Callable[[int], None]) -> pd.DataFrame:
    """Write the models of a fold; predictions for its validation rows by models that have not learned them."""

    def seed(*names: str) -> int:
        return derived_seed(job.seed, job.model, job.features, job.split, job.fold, *names)

    train_ids, validation_ids = job.parts["train"], job.parts["validation"]
    design = fit_design(
        job.features,
        blocks,
        job.split,
        job.fold,
        train_ids,
        job.n_components,
        derived_seed(job.seed, job.split, job.fold),
    )
    design.save(folder)
    (folder / "fold.json").write_text(json.dumps(job.record()))
    train = design.apply(blocks, job.split, job.fold, train_ids)
    validation = design.apply(blocks, job.split, job.fold, validation_ids)
    y_train, y_validation = (job.labels.loc[ids] for ids in (train_ids, validation_ids))
    data = families.FoldData(train, y_train, validation, y_validation)
    validated = families.fit(job.model, data, job.settings, seed, job.threads, folder, advance)
    return pd.DataFrame(validated, index=pd.Index(validation_ids, name="material_id"))[list(job.labels)]


def _check_finite(predicted: pd.DataFrame, source: str) -> None:
    """Raise InputError where a model predicts no number: left out, the row would flatter its scores."""
    failed = predicted.index[~np.isfinite(predicted.to_numpy()).all(axis=1)]
    if len(failed):
        problem = f"predicts no finite number for {len(failed)} of {len(predicted)} test materials ({failed[0]}, ...)"
        raise InputError(source, problem, "Its training diverged or its features overflow: check them, or leave it out")


def _assemble(out_dir, work, model, features, split, folds, targets, left_out, labels, materials) -> None:
    n_train = {fold: json.loads((work / fold / "fold.json").read_text())["n_train"] for fold in folds}
    summary = {"model": model, "features": features, "split": split}
    summary |= {"targets": targets, "left_out": left_out, "n_train": n_train, "n_rows": {}}
    exact = derive_from_kg(labels[targets], materials)
    truth = labels.assign(**{target: exact[target] for target in exact if labels[target].isna().all()})
    with atomic(out_dir) as folder:
        (folder / "folds").mkdir(parents=True)
        empty = pd.DataFrame(columns=PREDICTION_COLUMNS)
        for name, source in (("predictions", TESTED), ("validation", VALIDATED)):
            of_fold = {fold: _read_fold_predictions(work / fold / source) for fold in folds}
            direct = [_labelled(fold, predicted, labels) for fold, predicted in of_fold.items()]
            derived = [
                _labelled(fold, derive_from_kg(predicted, materials), truth) for fold, predicted in of_fold.items()
            ]
            for file, frames in ((name, direct), (f"{name}{FROM_KG}", derived)):
                rows = pd.concat(frames or [empty])
                rows.to_csv(folder / f"{file}.csv", index=False)
                summary["n_rows"][file] = len(rows)
        (folder / "targets.json").write_text(json.dumps(summary, indent=1))
        for fold in folds:
            os.replace(work / fold, folder / "folds" / fold)
    shutil.rmtree(work)


def _read_fold_predictions(path: Path) -> pd.DataFrame:
    predicted = pd.read_csv(path, converters={"material_id": str}, float_precision="round_trip")
    return predicted.set_index("material_id")


def _labelled(fold: str, predicted: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    frames = [pd.DataFrame(columns=PREDICTION_COLUMNS)]
    for target in predicted:
        known = labels.loc[predicted.index, target].notna() & predicted[target].notna()
        truth = labels.loc[predicted.index[known], target]
        values = {"y_true": truth.to_numpy(), "y_pred": predicted.loc[truth.index, target].to_numpy()}
        frames.append(pd.DataFrame({"fold": fold, "material_id": truth.index, "target": target} | values))
    return pd.concat([frame for frame in frames if len(frame)] or frames)


def _folds(splits: pd.DataFrame, split: str) -> dict[str, dict[str, list[str]]]:
    rows = splits[splits["split"] == split]
    if rows.empty:
        raise InputError(
            "results/splits.csv", f"there is no split {split!r}", "Add it to evaluation.splits and draw again"
        )
    empty = {"train": [], "validation": [], "test": []}
    return {
        fold: empty | {part: sorted(ids) for part, ids in group.groupby("part")["material_id"]}
        for fold, group in rows.groupby("fold", sort=True)
    }


def _trainable_targets(model: str, labels: pd.DataFrame, folds: dict) -> tuple[list[str], dict[str, str]]:
    """Targets with enough labels for this model in every fold, and of the others the reason."""
    everyone = sorted({name for parts in folds.values() for ids in parts.values() for name in ids})
    is_joint = MODELS[model].is_network and model != SINGLE_TASK  # learns from every row with any label
    least = 1 if is_joint else MODELS[model].least_validation_labels
    left_out = {}
    for target in labels:
        n_labels = int(labels.loc[everyone, target].notna().sum())
        if n_labels < LEAST_LABELS:
            left_out[target] = f"{n_labels} labelled materials, at least {LEAST_LABELS} are needed"
            continue
        for fold, parts in folds.items():
            n_train, n_validation = (int(labels.loc[parts[p], target].notna().sum()) for p in ("train", "validation"))
            if n_train < LEAST_TRAIN_LABELS or n_validation < least:
                left_out[target] = _too_few(fold, n_train, n_validation, least)
    targets = [target for target in labels if target not in left_out]
    for fold, parts in folds.items() if is_joint else ():
        n_train, n_validation = (
            int(labels.loc[parts[p], targets].notna().any(axis=1).sum()) for p in ("train", "validation")
        )
        if targets and n_validation < LEAST_NETWORK_ROWS:
            reason = _too_few(fold, n_train, n_validation, LEAST_NETWORK_ROWS)
            return [], left_out | dict.fromkeys(targets, reason)
    return targets, left_out


def _too_few(fold: str, n_train: int, n_validation: int, least: int) -> str:
    return (
        f"fold {fold} has {n_train} labelled training and {n_validation} validation materials, "
        f"{LEAST_TRAIN_LABELS} and {least} are needed"
    )


def _digest(
    head: str, fold: str, parts: dict, labels: pd.DataFrame, blocks: BlockData, features: str, split: str
) -> str:
    """Digest of everything that the models of one fold come from, the code included."""
    digest = hashlib.sha256(head.encode())
    digest.update(json.dumps([fold, parts]).encode())
    ids = parts["train"] + parts["validation"] + parts["test"]
    digest.update(labels.loc[ids].to_csv().encode())
    for block in block_names(features):
        density_field, sort = field_of(block)
        if block == GRAPH:
            for graph in blocks.graph(ids):
                digest.update(graph.numbers.tobytes() + graph.vectors.tobytes())
        elif sort.startswith(LATENT):
            digest.update(np.ascontiguousarray(blocks.latent(split, fold, ids, density_field)).tobytes())
        else:
            rows = blocks.table(block, ids)
            digest.update("\n".join(rows.columns).encode() + np.ascontiguousarray(rows.to_numpy()).tobytes())
    digest.update(code_digest(__file__).encode())
    return digest.hexdigest()


def _is_finished(folder: Path, digest: str) -> bool:
    """Whether a fold was fitted from the same, and is what was written then."""
    seal = _seal_of(folder)
    if not (folder / "fold.json").is_file() or not seal.is_file() or seal.read_text() != content_digest(folder):
        return False
    return json.loads((folder / "fold.json").read_text()).get("digest") == digest


def _seal_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.sha256")
