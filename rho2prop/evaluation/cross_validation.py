"""Cross-validation: fit each fold, predict its test part, write models and predictions."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from rho2prop.core.atomic_files import atomic
from rho2prop.core.errors import InputError
from rho2prop.core.jobs.code_digest import code_digest
from rho2prop.core.jobs.provenance import content_digest
from rho2prop.core.targets import SPREAD, TARGETS, spread_of
from rho2prop.crystals.elasticity import derive_from_kg
from rho2prop.evaluation.fold_results import PREDICTION_COLUMNS
from rho2prop.features.design_matrix import BlockData, fit_design, load_design
from rho2prop.features.registry import BLOCKS, GRAPH, LATENT, LATENT_PCA
from rho2prop.materials.splits import derived_seed
from rho2prop.models import estimator
from rho2prop.models.registry import (
    FROM_KG,
    LEAST_LABELS,
    LEAST_NETWORK_ROWS,
    LEAST_TRAIN_LABELS,
    MODELS,
    check,
)
from rho2prop.models.settings import ModelSettings

TESTED, VALIDATED = "test_predictions.csv", "validation_predictions.csv"  # of a fold


@dataclass(frozen=True)
class Regression:
    """A regression: model, feature set, split and settings.

    Parameters
    ----------
    model
        Name of a model (``rho2prop.models.registry``).
    features
        Name of the feature set.
    blocks
        Its blocks in order; none for the mean.
    split
        Name of the split; ``all`` has the one fold ``final`` and no test part.
    settings
        Of the model; None where it has none.
    n_components
        Wanted PCA components of the latents.
    seed
        Seed of the run; each fold and target derives its own, from the blocks and not from the name of the set.
    threads
        CPU threads.
    """

    model: str
    features: str
    blocks: tuple[str, ...]
    split: str
    settings: ModelSettings | None
    n_components: int
    seed: int
    threads: int = 1

    def __str__(self) -> str:
        return f"{self.model} on {self.features}, {self.split}"

    def seed_of(self, fold: str, *names: str) -> int:
        """Seed for a named part of a fold."""
        return derived_seed(self.seed, self.model, block_key(self.blocks), self.split, fold, *names)

    def head(self, targets: list[str]) -> str:
        """Everything that the models depend on besides their data, as text."""
        settings = asdict(self.settings) if self.settings else {}
        known = [self.model, self.blocks, self.split, settings, self.n_components, self.seed, targets]
        return json.dumps(known, sort_keys=True)

    def record(self) -> dict:
        """Names, for records beside the models."""
        return {"model": self.model, "features": self.features, "blocks": list(self.blocks), "split": self.split}


@dataclass(frozen=True)
class RegressionData:
    """Tables ``results/materials.csv`` and ``results/splits.csv``, and features by block."""

    materials: pd.DataFrame
    splits: pd.DataFrame
    features: BlockData


def block_key(blocks: tuple[str, ...]) -> str:
    """Blocks as one text, for seeds: renaming a set must not change results."""
    return "+".join(blocks) or "none"


def run(regression: Regression, data: RegressionData, out_dir: Path | str) -> None:
    """Fit and test one model with one feature set on all folds of one split.

    Parameters
    ----------
    regression
        What is fitted.
    data
        What it is fitted to.
    out_dir
        Folder to write (see the notes); it appears whole or not at all.

    Notes
    -----
    ``predictions.csv`` (test rows with a label), ``predictions_from_kg.csv`` (E and Θ from the predicted K and G, same
    columns; the only ones of models that learn K and G alone; the true values are the labels or, of a property
    without any, what follows from labels of K and G), ``validation.csv`` and ``validation_from_kg.csv`` (the same of
    the validation parts, by models that had not learned from them), ``targets.json`` (targets, those left out and why,
    numbers of training rows) and ``folds/<fold>/`` (models). Finished folds of an interrupted run wait in
    ``.unfinished-<name>`` beside the folder and are taken up again if nothing that they came from has changed.
    """
    out_dir = Path(out_dir)
    check(regression.model, regression.features, regression.blocks)
    labels = data.materials.set_index("material_id")[list(TARGETS)].astype(float)
    folds = _folds(data.splits, regression.split)
    targets, left_out = _trainable_targets(regression.model, labels, folds)
    derived = MODELS[regression.model].targets_not_learned(targets)
    targets = [target for target in targets if target not in derived]
    for target, reason in left_out.items():
        print(f"{regression}: {target} is left out: {reason}", file=sys.stderr)
    if not targets:
        print(f"{regression}: left out, no property can be trained", file=sys.stderr)
        folds = {}
    work = out_dir.with_name(f".unfinished-{out_dir.name}")
    work.mkdir(parents=True, exist_ok=True)
    description = f"{regression.model} {regression.features} {regression.split}"
    with tqdm(total=len(folds) * len(targets), desc=description, unit="fit") as progress:

        def advance(n_targets: int) -> None:
            progress.update(n_targets)

        for fold, parts in folds.items():
            job = _FoldJob(regression, fold, parts, labels[targets])
            digest = _digest(job, data.features)
            if _is_finished(work / fold, digest):
                progress.update(len(targets))
                continue
            with atomic(work / fold) as folder:
                folder.mkdir()
                validated = _fit_fold(job, data.features, folder, advance)
                validated.to_csv(folder / VALIDATED)
                tested = predict_fold(folder, data.features, parts["test"], with_spread=True)
                _check_finite(tested, f"{regression}, fold {fold}")
                tested.to_csv(folder / TESTED)
                (folder / "fold.json").write_text(json.dumps(job.record() | {"digest": digest}, indent=1))
            _seal_of(work / fold).write_text(content_digest(work / fold))
    _assemble(out_dir, work, regression, list(folds), left_out, labels[targets], labels, data.materials)


def predict_fold(folder: Path, features: BlockData, material_ids: list[str], with_spread: bool = False) -> pd.DataFrame:
    """Predictions by the models of one fold, read from disk.

    Returns
    -------
    pandas.DataFrame
        Index ``material_id``, one column per target, in the unit of the target; with ``with_spread`` also
        ``spread_of(target)`` where the model has a predictive variance.
    """
    record = json.loads((folder / "fold.json").read_text())
    ids = pd.Index(material_ids, name="material_id", dtype=object)
    if not len(ids):
        return pd.DataFrame(columns=record["targets"], index=ids, dtype=float)
    matrix = load_design(folder).apply(features, record["split"], record["fold"], list(material_ids))
    predicted = estimator.load(folder, record["model"], record["targets"], with_spread)(matrix)
    spreads = [name for name in predicted if name.endswith(SPREAD)]
    return pd.DataFrame(predicted, index=ids)[[*record["targets"], *spreads]]


@dataclass(frozen=True)
class _FoldJob:
    regression: Regression
    fold: str
    parts: dict[str, list[str]]
    labels: pd.DataFrame

    def record(self) -> dict:
        rows = self.labels.loc[self.parts["train"] + self.parts["validation"]]
        n_train = {name: int(count) for name, count in rows.notna().sum().items()}
        return self.regression.record() | {"fold": self.fold, "targets": list(self.labels), "n_train": n_train}


def _fit_fold(job: _FoldJob, features: BlockData, folder: Path, advance: Callable[[int], None]) -> pd.DataFrame:
    """Fit and write the models of a fold; return predictions for validation rows made before learning from them."""
    regression, split, fold = job.regression, job.regression.split, job.fold
    train_ids, validation_ids = job.parts["train"], job.parts["validation"]
    design = fit_design(
        regression.blocks,
        features,
        split,
        fold,
        train_ids,
        regression.n_components,
        derived_seed(regression.seed, split, fold),
    )
    design.save(folder)
    (folder / "fold.json").write_text(json.dumps(job.record()))
    train, validation = (design.apply(features, split, fold, ids) for ids in (train_ids, validation_ids))
    data = estimator.FoldData(train, job.labels.loc[train_ids], validation, job.labels.loc[validation_ids])
    fitting = estimator.Fitting(
        regression.settings, lambda *names: regression.seed_of(fold, *names), regression.threads, advance
    )
    validated = estimator.fit(regression.model, data, fitting, folder)
    return pd.DataFrame(validated, index=pd.Index(validation_ids, name="material_id"))


def _check_finite(predicted: pd.DataFrame, source: str) -> None:
    """Raise InputError if a prediction is not finite: leaving the row out would improve the scores."""
    failed = predicted.index[~np.isfinite(predicted.to_numpy()).all(axis=1)]
    if len(failed):
        problem = f"predicts no finite number for {len(failed)} of {len(predicted)} test materials ({failed[0]}, ...)"
        raise InputError(source, problem, "Training diverged or features overflow: check them, or remove the model")


def _assemble(
    out_dir: Path,
    work: Path,
    regression: Regression,
    folds: list[str],
    left_out: dict[str, str],
    learned: pd.DataFrame,
    labels: pd.DataFrame,
    materials: pd.DataFrame,
) -> None:
    n_train = {fold: json.loads((work / fold / "fold.json").read_text())["n_train"] for fold in folds}
    summary = regression.record() | {"targets": list(learned), "left_out": left_out, "n_train": n_train, "n_rows": {}}
    exact = derive_from_kg(learned, materials)
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
    for target in (name for name in predicted if not name.endswith(SPREAD)):
        known = labels.loc[predicted.index, target].notna() & predicted[target].notna()
        truth = labels.loc[predicted.index[known], target]
        own = predicted.loc[truth.index]
        spread = own.get(spread_of(target), pd.Series(np.nan, own.index))
        columns = [fold, truth.index, target, spread.to_numpy(), truth.to_numpy(), own[target].to_numpy()]
        frames.append(pd.DataFrame(dict(zip(PREDICTION_COLUMNS, columns, strict=True))))
    return pd.concat([frame for frame in frames if len(frame)] or frames)


def _folds(splits: pd.DataFrame, split: str) -> dict[str, dict[str, list[str]]]:
    rows = splits[splits["split"] == split]
    if rows.empty:
        raise InputError(
            "results/splits.csv", f"has no split {split!r}", "Add it to evaluation.splits and draw the splits again"
        )
    empty: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    return {
        fold: empty | {part: sorted(ids) for part, ids in group.groupby("part")["material_id"]}
        for fold, group in rows.groupby("fold", sort=True)
    }


def _trainable_targets(model: str, labels: pd.DataFrame, folds: dict) -> tuple[list[str], dict[str, str]]:
    """Targets with enough labels for this model in every fold, and the reasons for the others."""
    everyone = sorted({name for parts in folds.values() for ids in parts.values() for name in ids})
    is_joint = MODELS[model].is_joint
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


def _digest(job: _FoldJob, features: BlockData) -> str:
    """Digest of everything that the models of one fold depend on, including the code."""
    split, fold, parts = job.regression.split, job.fold, job.parts
    digest = hashlib.sha256(job.regression.head(list(job.labels)).encode())
    digest.update(json.dumps([fold, parts]).encode())
    ids = parts["train"] + parts["validation"] + parts["test"]
    digest.update(job.labels.loc[ids].to_csv().encode())
    for block in (BLOCKS[name] for name in job.regression.blocks):
        if block.form == GRAPH:
            for graph in features.graph(ids):
                digest.update(graph.numbers.tobytes() + graph.vectors.tobytes())
        elif block.form in (LATENT, LATENT_PCA):
            digest.update(np.ascontiguousarray(features.latent(split, fold, ids, block.field)).tobytes())
        else:
            rows = features.table(block.name, ids)
            digest.update("\n".join(rows.columns).encode() + np.ascontiguousarray(rows.to_numpy()).tobytes())
    digest.update(code_digest(__file__).encode())
    return digest.hexdigest()


def _is_finished(folder: Path, digest: str) -> bool:
    """Whether a fold was fitted from the same inputs and its files are unchanged."""
    seal = _seal_of(folder)
    if not (folder / "fold.json").is_file() or not seal.is_file() or seal.read_text() != content_digest(folder):
        return False
    return json.loads((folder / "fold.json").read_text()).get("digest") == digest


def _seal_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.sha256")
