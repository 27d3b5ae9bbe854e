"""Writing a model bundle: everything needed for predictions in one portable folder.

The format is described in docs/formats.md and read by ``rho2prop.prediction.bundle.reader``.
"""

import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rho2prop import __version__
from rho2prop.core.atomic_files import atomic
from rho2prop.core.errors import InputError
from rho2prop.core.jobs.protocol import without_machine
from rho2prop.core.jobs.provenance import digest
from rho2prop.core.tables import write_table
from rho2prop.core.targets import TARGETS
from rho2prop.crystals.element_tables import table_digests
from rho2prop.evaluation.cross_validation import TESTED, VALIDATED
from rho2prop.evaluation.final_models import read_judged
from rho2prop.evaluation.fold_results import collect_metrics, read_summary
from rho2prop.evaluation.intervals import calibrations
from rho2prop.evaluation.metrics import summarise
from rho2prop.evaluation.plan import Plan
from rho2prop.evaluation.settings import Choice
from rho2prop.features.block_files import block_data
from rho2prop.features.design_matrix import BlockData
from rho2prop.features.registry import BLOCKS, blocks_that
from rho2prop.materials.collection import read_materials, require_one_kind
from rho2prop.materials.splits import FINAL_FOLD
from rho2prop.models.registry import FROM_KG
from rho2prop.prediction.applicability import fit_training_space
from rho2prop.prediction.bundle.checks import (
    DECODER,
    ENCODER,
    FORMAT,
    INTERVALS,
    MANIFEST,
    REFERENCE,
    TRAINING_SPACE,
    VERSION,
    read_manifest,
)
from rho2prop.prediction.bundle.reader import Bundle
from rho2prop.prediction.bundle.reference import library_versions, reference_arrays

SPACE_BLOCKS = ("magpie", "fingerprint")  # the distance to the training set is measured in these
LEFT_OUT = (TESTED, VALIDATED)  # of a fold's folder: records of the fit that no prediction needs
METRICS, COVERAGE, JUDGED, TRAINING = "metrics_summary.csv", "intervals.csv", "final_models.csv", "training.csv"


@dataclass(frozen=True)
class FinishedRun:
    """Files of a finished run from which a bundle is written.

    Parameters
    ----------
    materials
        ``results/materials.csv``.
    features
        Files of the blocks magpie and fingerprint.
    autoencoder
        Folder of the autoencoder of scope ``all``.
    final, folds
        Regression folders of the split ``all`` and of the split that calibrates the intervals, in the order of the
        configuration key ``predict``.
    intervals, judged
        ``results/intervals.csv`` and ``results/final_models.csv``.
    """

    materials: Path | str
    features: list[str]
    autoencoder: Path | str
    final: list[str]
    folds: list[str]
    intervals: Path | str
    judged: Path | str


def write_bundle(run: FinishedRun, config: dict, folder: Path | str) -> None:
    """Write a bundle, whole or not at all.

    Parameters
    ----------
    run
        The finished run.
    config
        Its whole configuration; ``predict`` names the regressors, ``intervals.coverage`` the stated coverage.
    folder
        Folder to write.

    Raises
    ------
    InputError
        If a regressor needs features that cannot be computed from a density alone, or a file of the run does not
        belong to the others.
    """
    materials = read_materials(run.materials)
    materials = materials[materials["role"] == "train"]
    if materials.empty:
        raise InputError(run.materials, "has no training materials", "Finish the run first")
    require_one_kind(materials)
    plan = Plan(config)
    used = plan.blocks_of(plan.predict)
    _check_blocks(used)
    blocks = block_data(list(run.features))
    with atomic(folder) as temporary:
        temporary.mkdir()
        autoencoder = _write_autoencoder(Path(run.autoencoder), temporary, config["grid"])
        judged = read_judged(run.judged)
        offered = {(row.model.removesuffix(FROM_KG), row.features) for row in judged[judged["is_offered"]].itertuples()}
        regressors = [
            _copy_regressor(choice, plan.blocks(choice.features), Path(final), temporary)
            for choice, final in zip(plan.predict, run.final, strict=True)
            if (choice.model, choice.features) in offered
        ]
        intervals = _write_intervals(run.folds, judged, plan.intervals.coverage, temporary)
        calibrated = {record["target"] for record in intervals["calibrations"]}
        elements = _write_training(materials, blocks, temporary)
        write_table(summarise(collect_metrics(run.folds)), temporary / METRICS)
        shutil.copyfile(run.intervals, temporary / COVERAGE)
        shutil.copyfile(run.judged, temporary / JUDGED)
        manifest = {
            "format": FORMAT,
            "format_version": VERSION,
            "code_version": __version__,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "config": _without_places(config),
            "grid": config["grid"],
            "density": {
                "kind": materials["density_kind"].iloc[0],
                "engine": materials["density_engine"].iloc[0],
                "unit": "e/Å³",
            },
            "targets": {
                name: {"symbol": target.symbol, "name": target.name, "unit": target.unit}
                for name, target in TARGETS.items()
                if name in calibrated
            },
            "features": {
                "blocks": {name: BLOCKS[name].version for name in dict.fromkeys([*SPACE_BLOCKS, *used])},
                "element_tables": table_digests(),
                "reference": {"file": REFERENCE, "versions": library_versions()},
                "latent": {"file": ENCODER, "shape": autoencoder["latent_shape"]},
            },
            "autoencoder": autoencoder,
            "regressors": regressors,
            "intervals": intervals | {"checked": COVERAGE, "judged": JUDGED},
            "training": {"file": TRAINING, "n_materials": len(materials), "elements": elements},
            "metrics": METRICS,
        }
        _write_arrays(temporary / REFERENCE, reference_arrays(Bundle(temporary, manifest)))
        manifest["files"] = _checksums(temporary)
        text = json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False)
        (temporary / MANIFEST).write_text(text + "\n", encoding="utf-8")
        read_manifest(temporary)  # a bundle that its own reader refuses must not replace one


def _without_places(config: dict) -> dict:
    """The configuration without settings of the machine, which mean nothing elsewhere."""
    dft = without_machine(config)["dft"]
    dft["vasp"] = dft["vasp"] | {"preset": Path(dft["vasp"]["preset"]).name}
    snapshot = config["materials_project"] | {"snapshot": Path(config["materials_project"]["snapshot"]).name}
    return config | {"materials": Path(config["materials"]).name, "materials_project": snapshot, "dft": dft}


def _write_autoencoder(source: Path, folder: Path, grid: dict) -> dict:
    from safetensors.torch import save

    from rho2prop.autoencoder.training import load_autoencoder

    model, record = load_autoencoder(source)
    if record.get("grid", grid) != grid:
        raise InputError(source, f"was trained on the grid {record['grid']}, the run has {grid}", "Train it again")
    (folder / ENCODER).parent.mkdir()
    for name, network in ((ENCODER, model.encoder), (DECODER, model.decoder)):
        weights = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
        (folder / name).write_bytes(save(weights))  # save_file would make a file that only its owner can read
    config = model.config
    shape = [16, *[config.latent_size] * 3]
    return {
        "network": {name: getattr(config, name) for name in ("network", "grid_size", "latent_size", "dropout")},
        "latent_shape": shape,
        "n_parameters": sum(tensor.numel() for tensor in model.parameters()),
    }


def _check_blocks(blocks: list[str]) -> None:
    unknown = [block for block in blocks if not BLOCKS[block].travels]
    if unknown:
        known = ", ".join(blocks_that(lambda block: block.travels))
        fix = f"Under predict, name feature sets of {known}"
        raise InputError("config predict", f"the block {unknown[0]!r} cannot be put into a bundle", fix)


def _copy_regressor(choice: Choice, blocks: list[str], final: Path, folder: Path) -> dict:
    summary = read_summary(final)
    if (summary["model"], summary["features"], summary["blocks"]) != (choice.model, choice.features, blocks):
        problem = f"holds {summary['model']} on {summary['features']} ({', '.join(summary['blocks'])})"
        raise InputError(final, f"{problem}, wanted {choice} ({', '.join(blocks)})", "Name the right folder")
    name = f"regressors/{choice.folder}"
    shutil.copytree(final / "folds" / FINAL_FOLD, folder / name, ignore=shutil.ignore_patterns(*LEFT_OUT))
    record = json.loads((folder / name / "fold.json").read_text())
    return {
        "model": choice.model,
        "features": choice.features,
        "blocks": blocks,
        "folder": name,
        "targets": record["targets"],
        "n_train": record["n_train"],
    }


def _write_intervals(folds: list[str], judged: pd.DataFrame, coverage: float, folder: Path) -> dict:
    """Calibrations of all offered predictions, and the reasons for the others."""
    records, scores = [], {}
    verdicts = {(row.model, row.features, row.target): row.is_offered for row in judged.itertuples()}
    for source in folds:
        features = read_summary(source)["features"]
        for (model, target), calibration in calibrations(source, coverage).items():
            if not verdicts.get((model, features, target), False):
                continue
            key = f"{model}/{features}/{target}"
            scores[key] = calibration.scores
            records.append(
                {
                    "model": model,
                    "features": features,
                    "target": target,
                    "scores": key,
                    "n": len(calibration.scores),
                    "power": calibration.power,
                    "offset": calibration.offset,
                    "is_positive": calibration.is_positive,
                    "uses_spread": calibration.uses_spread,
                }
            )
    refused = judged[~judged["is_offered"]]
    if not records:
        reasons = "; ".join(f"{row.model} ({row.features}), {row.target}: {row.reason}" for row in refused.itertuples())
        problem = f"no final model is good enough ({reasons or 'none had enough labels to be trained'})"
        raise InputError("config predict", problem, "Select other models, or add labelled materials")
    _write_arrays(folder / INTERVALS, scores)
    not_offered = refused[["model", "features", "target", "reason"]].to_dict("records")
    return {"coverage": coverage, "file": INTERVALS, "calibrations": records, "not_offered": not_offered}


def _write_training(materials: pd.DataFrame, blocks: BlockData, folder: Path) -> list[str]:
    ids = materials["material_id"].tolist()
    table = pd.concat([blocks.table(block, ids) for block in SPACE_BLOCKS], axis=1)
    elements = sorted({symbol for system in materials["chemical_system"] for symbol in system.split("-")})
    space = fit_training_space(table, materials["formula"].tolist(), set(elements))
    _write_arrays(folder / TRAINING_SPACE, space.to_arrays())
    write_table(materials[["material_id", "formula", "chemical_system"]], folder / TRAINING)
    return elements


def _write_arrays(path: Path, arrays: dict[str, Any]) -> None:
    np.savez_compressed(path, **arrays)


def _checksums(folder: Path) -> dict[str, dict]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): {
            "sha256": digest(path),
            "bytes": path.stat().st_size,
        }
        for path in files
    }
