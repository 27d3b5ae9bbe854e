"""Reads and checks the results of a run; summaries that figures and tables share."""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from rho2prop.core.errors import InputError
from rho2prop.core.jobs.request_record import REQUESTED, read_request
from rho2prop.core.targets import TARGETS
from rho2prop.evaluation.metrics import summarise as summarise_scores
from rho2prop.features.feature_sets import SECTION, resolve
from rho2prop.features.registry import BLOCKS, COMPOSITION, DENSITY, STRUCTURE
from rho2prop.models.registry import FROM_KG, is_derived
from rho2prop.report import paper

# Columns of each table: text, then numbers.
TABLES = {
    "materials": (
        ("material_id", "role", "formula", "chemical_system", "crystal_system"),
        ("n_sites", "volume_per_atom_ang3", *TARGETS),
    ),
    "dft_outcomes": (
        ("material_id", "status", "reason", "engine", "engine_version", "grid", "corrections"),
        ("energy_ev", "n_electrons", "wall_time_s", "core_hours"),
    ),
    "atoms": (
        ("material_id", "status", "reason", "corrections"),
        ("energy_ev", "wall_time_s", "core_hours"),
    ),
    "splits": (("split", "fold", "material_id", "part"), ()),
    "metrics": (
        ("target", "features", "model", "split", "fold"),
        ("n_train", "n_test", "r2", "mae", "rmse"),
    ),
    "learning_curve": (
        ("size", "target", "features", "model", "split", "fold"),
        ("n_train", "n_test", "r2", "mae", "rmse"),
    ),
    "largest_errors": (
        ("target", "material_id", "formula", "model", "features", "remarks"),
        ("y_true", "y_pred", "error"),
    ),
    "importance": (("model", "features", "split", "target", "block"), ("share",)),
    "new_predictions": (
        ("material_id", "formula", "target", "unit", "model", "features"),
        ("value", "fold_std"),
    ),
    "history": ((), ("epoch", "train_loss", "validation_loss", "seconds", "learning_rate")),
    "intervals": (
        ("target", "model", "features", "fold"),
        ("coverage_stated", "coverage_found", "n", "mean_width"),
    ),
    "final_models": (
        ("model", "features", "target", "is_offered", "reason"),
        ("n", "mae", "mae_folds", "mae_folds_least", "mae_folds_largest", "coverage_stated", "coverage_found"),
    ),
    "invariance": (
        ("material_id", "model", "features", "grid", "kind", "transformation", "target"),
        ("value", "relative_change"),
    ),
    "latent_database": (
        ("material_id", "formula", "part", "reason"),
        ("grid_points", "bytes_database", "bytes_chgcar", "nmae", "nmae_window", "electron_factor"),
    ),
    "reconstruction": (("material_id", "method", "part"), ("bytes", "mse", "mae", "nmae")),
}
# Columns that tables of older runs lack: blank there.
LATER_COLUMNS = {
    "dft_outcomes": (("protocol_changes",), ("magnetic_moment_mub", "atomization_energy_ev_per_atom")),
    "atoms": (("protocol_changes",), ("magnetic_moment_mub",)),
}
SLICE_ARRAYS = ("original", "reconstructed", "difference")
KEYS = (*TABLES, "predictions_dir", "slices", "benchmarks")
MEASURED = {"wall_s": "s", "cpu_s": "cpu_time", "max_rss_mb": "max_rss"}  # columns of Snakemake's benchmark files
ENDING_LATER = ("write_bundle", "plot_figures", "render_report")  # beside the report, sooner or later
POOLED_TEXT = ("fold", "material_id", "target")
POOLED_NUMBERS = ("y_true", "y_pred")


@dataclass(frozen=True)
class Run:
    """Everything that the report shows; ``None`` where a file was not part of the run."""

    config: dict
    materials: pd.DataFrame | None
    dft_outcomes: pd.DataFrame | None
    atoms: pd.DataFrame | None
    splits: pd.DataFrame | None
    metrics: pd.DataFrame | None
    learning_curve: pd.DataFrame | None
    largest_errors: pd.DataFrame | None
    importance: pd.DataFrame | None
    new_predictions: pd.DataFrame | None
    history: pd.DataFrame | None
    intervals: pd.DataFrame | None
    final_models: pd.DataFrame | None
    invariance: pd.DataFrame | None
    latent_database: pd.DataFrame | None
    reconstruction: pd.DataFrame | None
    predictions_dir: Path | None
    slices: tuple[dict, ...]
    benchmarks: pd.DataFrame | None

    @cached_property
    def feature_sets(self) -> dict[str, tuple[str, ...]]:
        """Sets of the configuration with their blocks in order."""
        return resolve(self.config[SECTION])

    def blocks(self, features: str) -> tuple[str, ...]:
        """Blocks of a feature set of the run."""
        if features not in self.feature_sets:
            fix = "Render the report with the configuration of the run"
            raise InputError(SECTION, f"does not define the set {features!r}, which a table of the run names", fix)
        return self.feature_sets[features]

    def uses_density(self, features: str) -> bool:
        """Whether a feature set holds a block of the self-consistent density."""
        return any(BLOCKS[block].source == DENSITY for block in self.blocks(features))

    @property
    def sets_with_density(self) -> set[str]:
        """Evaluated feature sets that hold a block of the self-consistent density."""
        evaluated = [] if self.metrics is None else self.metrics["features"].unique()
        return {name for name in evaluated if self.uses_density(name)}

    def set_with(self, blocks: tuple[str, ...]) -> str | None:
        """The set that was evaluated with just these blocks, by whatever name; None if there is none."""
        evaluated = [] if self.metrics is None else self.metrics["features"].unique()
        return next((name for name in evaluated if blocks and self.blocks(name) == blocks), None)

    @property
    def split_names(self) -> list[str]:
        """Evaluated splits in the order of the configuration."""
        if self.metrics is None:
            return []
        evaluated = set(self.metrics["split"])
        return [name for name in self.config["evaluation"]["splits"] if name in evaluated]

    @property
    def main_split(self) -> str:
        """The split shown in detail: the last of ``evaluation.splits`` that was evaluated; empty if none was."""
        return self.split_names[-1] if self.split_names else ""

    @property
    def targets(self) -> list[str]:
        """Targets with metrics, in the order of ``rho2prop.core.targets``."""
        evaluated = set() if self.metrics is None else set(self.metrics["target"])
        return [target for target in TARGETS if target in evaluated]


def read_run(inputs: Mapping, config: Mapping) -> Run:
    """Read and check every file of a run.

    Parameters
    ----------
    inputs
        Paths by name: ``materials``, ``dft_outcomes``, ``atoms``, ``splits``, ``metrics``, ``learning_curve``,
        ``largest_errors``, ``importance``, ``new_predictions``, ``history``, ``intervals``, ``final_models``,
        ``invariance``, ``latent_database``, ``reconstruction`` (CSV), ``predictions_dir``, ``benchmarks``
        (folders) and ``slices`` (list of npz). A name that is absent or None was not part of the run.
    config
        Configuration of the run.

    Raises
    ------
    InputError
        If a named file is missing, lacks a column, or holds text where a number belongs.
    """
    unknown = sorted(set(inputs) - set(KEYS))
    if unknown:
        raise InputError("report inputs", f"unknown name {unknown[0]!r}", f"Use one of {', '.join(KEYS)}")
    tables = {
        name: read_table(inputs[name], text, numbers, *LATER_COLUMNS.get(name, ())) if inputs.get(name) else None
        for name, (text, numbers) in TABLES.items()
    }
    for name in ("metrics", "learning_curve"):
        if tables[name] is not None:
            tables[name] = with_own_answers(tables[name])
    folders: dict[str, Path | None] = {"predictions_dir": None, "benchmarks": None}
    for name in folders:
        if not inputs.get(name):
            continue
        folder = folders[name] = Path(inputs[name])
        if not folder.is_dir():
            raise InputError(folder, "no such folder", f"Name the folder of {name} or leave it out")
    return Run(
        config=dict(config),
        **tables,
        predictions_dir=folders["predictions_dir"],
        slices=tuple(read_slice(path) for path in inputs.get("slices") or ()),
        benchmarks=read_benchmarks(folders["benchmarks"]) if folders["benchmarks"] else None,
    )


def read_table(
    path: Path | str,
    text: tuple[str, ...],
    numbers: tuple[str, ...],
    later_text: tuple[str, ...] = (),
    later_numbers: tuple[str, ...] = (),
) -> pd.DataFrame:
    """A CSV with the named text and number columns; a blank is "" in text and NaN in numbers.

    Columns of ``later_text`` and ``later_numbers`` that the file does not have are blank.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(path, "no such file", "Run the rule that writes it, or leave it out of the report")
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    missing = [column for column in (*text, *numbers) if column not in frame]
    if missing:
        raise InputError(path, f"no column {missing[0]!r}", f"It needs {', '.join((*text, *numbers))}")
    for column in (*later_text, *later_numbers):
        if column not in frame:
            frame[column] = ""
    for column in (*numbers, *later_numbers):
        values = pd.to_numeric(frame[column].replace("", "nan"), errors="coerce")
        wrong = values.isna() & ~frame[column].str.lower().isin(["", "nan"])
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            problem = f"line {row + 2}, column {column!r}: {frame[column].iloc[row]!r} is not a number"
            raise InputError(path, problem, "Write a number or leave it blank")
        frame[column] = values.astype(float)
    return frame


def read_slice(path: Path | str) -> dict:
    """A plane of an original and a reconstructed density in e/Å³, with its edge in Å and its error."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            plane: dict[str, Any] = {name: np.asarray(archive[name], dtype=float) for name in SLICE_ARRAYS}
            plane |= {name: float(archive[name]) for name in ("edge_ang", "nmae")}
            plane |= {name: str(archive[name]) for name in ("formula", "material_id")}
    except (OSError, KeyError, ValueError, BadZipFile) as error:
        raise InputError(path, f"not a density slice ({error})", "Write it again with the plotting rule") from error
    shapes = {plane[name].shape for name in SLICE_ARRAYS}
    if len(shapes) != 1 or any(len(shape) != 2 for shape in shapes):
        raise InputError(path, f"arrays of shapes {sorted(shapes)}", "The three must be (n, n) alike")
    return plane


def read_benchmarks(folder: Path) -> pd.DataFrame:
    """Snakemake's benchmark files below a folder, with what each job requested.

    Returns
    -------
    pandas.DataFrame
        One row per job: rule, wall_s, cpu_s, max_rss_mb, and the request by the names of ``read_request``. The rule is
        the first folder (or the file's name); those that end with the report or after it are left out. NaN: Snakemake
        could not measure it ("-", "NA"), or the request was not recorded.
    """
    rows = []
    for path in sorted(folder.rglob("*.tsv")):
        rule = path.relative_to(folder).with_suffix("").parts[0]
        if rule in ENDING_LATER:
            continue
        with path.open(encoding="utf-8", newline="") as file:
            records = list(csv.DictReader(file, delimiter="\t"))
        if any("s" not in record for record in records):
            raise InputError(path, "no column 's'", "Keep only Snakemake's benchmark files there")
        for record in records:
            measured = {name: record.get(key) for name, key in MEASURED.items()}
            rows.append({"rule": rule} | measured | read_request(path))
    columns = [*MEASURED, *REQUESTED]
    frame = pd.DataFrame(rows, columns=["rule", *columns])
    frame[columns] = frame[columns].apply(pd.to_numeric, errors="coerce")
    return frame


def kind_of(block: str) -> str:
    """Kind of a feature block in figures: density, composition or structure."""
    source = BLOCKS[block].source
    return source if source in (DENSITY, COMPOSITION) else STRUCTURE


def summarise(metrics: pd.DataFrame) -> pd.DataFrame:
    """Scores over folds (``rho2prop.evaluation.metrics.summarise``), by rising MAE in each split and target."""
    order = ["split", "target", "mae_mean"]
    return summarise_scores(metrics).sort_values(order, kind="stable", ignore_index=True)


def with_own_answers(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores in which a model that learns K and G alone has their E and Θ as its own, under its own name."""
    key = ["model", "features", "target"]
    direct = set(scores.loc[~scores["model"].map(is_derived), key].itertuples(index=False, name=None))
    names = [
        model.removesuffix(FROM_KG) if (model.removesuffix(FROM_KG), features, target) not in direct else model
        for model, features, target in scores[key].itertuples(index=False, name=None)
    ]
    return scores.assign(model=names)


def hybrid_features(run: Run, model: str) -> str | None:
    """Feature set of a model for the parity plots and the importance.

    The paper's hybrid where it was evaluated, else the set that the configuration predicts with, else none.
    """
    if run.metrics is None:
        return None
    evaluated = set(run.metrics.loc[run.metrics["model"] == model, "features"])
    wanted = [run.set_with(paper.HYBRID.get(model, ()))]
    wanted += [entry["features"] for entry in run.config.get("predict", ()) if entry["model"] == model]
    return next((features for features in wanted if features in evaluated), None)


def pooled_predictions(run: Run, model: str, features: str, split: str) -> pd.DataFrame | None:
    """Test predictions of all folds, E and Θ from K and G where the model learns no other; None without a file."""
    if run.predictions_dir is None:
        return None
    folder = run.predictions_dir / model / features / split
    paths = [folder / "predictions.csv", folder / f"predictions{FROM_KG}.csv"]
    tables = [read_table(path, POOLED_TEXT, POOLED_NUMBERS) for path in paths if path.is_file()]
    if not tables:
        return None
    direct = tables[0]
    parts = [direct, *(table[~table["target"].isin(direct["target"])] for table in tables[1:])]
    return pd.concat([part for part in parts if len(part)] or parts[:1])


def left_out(run: Run) -> dict[tuple[str, str, str], dict[str, str]]:
    """Model, features and split of the regressions that could not be trained, with the reasons by target."""
    reasons: dict[tuple[str, str, str], dict[str, str]] = {}
    if run.predictions_dir is None:
        return reasons
    for model, sets in run.config["evaluation"]["regressions"].items():
        for features in sets:
            for split in run.config["evaluation"]["splits"]:
                path = run.predictions_dir / model / features / split / "targets.json"
                record: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {"targets": [model]}
                if not record["targets"]:
                    reasons[model, features, split] = record["left_out"]
    return reasons


def density_gain(run: Run) -> pd.DataFrame:
    """Best feature set with density against the best without, fold by fold.

    Returns
    -------
    pandas.DataFrame
        Columns split, target, with_density, without_density (pairs of model and features), mae_with,
        mae_without, change (relative, negative is better), change_std (over folds), n_better, n_folds;
        only where both kinds exist.
    """
    assert run.metrics is not None
    metrics = run.metrics[~run.metrics["model"].map(is_derived) & (run.metrics["model"] != "mean")]
    rows = []
    for split in run.split_names:
        for target in run.targets:
            part = metrics[(metrics["split"] == split) & (metrics["target"] == target)]
            dense = part["features"].map(run.uses_density)
            if dense.all() or not dense.any():
                continue
            best = [_best_by_fold(part[mask]) for mask in (dense, ~dense)]
            (name_with, mae_with), (name_without, mae_without) = best
            ratio = (mae_with / mae_without - 1).dropna()
            rows.append(
                {
                    "split": split,
                    "target": target,
                    "with_density": name_with,
                    "without_density": name_without,
                    "mae_with": mae_with.mean(),
                    "mae_without": mae_without.mean(),
                    "change": mae_with.mean() / mae_without.mean() - 1,
                    "change_std": ratio.std(),
                    "n_better": int((ratio < 0).sum()),
                    "n_folds": len(ratio),
                }
            )
    return pd.DataFrame(rows)


def _best_by_fold(part: pd.DataFrame) -> tuple[tuple[str, str], pd.Series]:
    means = part.groupby(["model", "features"])["mae"].mean()
    model, features = means.idxmin()
    chosen = part[(part["model"] == model) & (part["features"] == features)]
    return (model, features), chosen.set_index("fold")["mae"]
