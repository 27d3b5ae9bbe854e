"""Design matrices: feature blocks, imputed, scaled and reduced by what is fitted on the training part of a fold."""

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from rho2prop.core.errors import InputError
from rho2prop.densities.field_names import TOTAL
from rho2prop.features.crystal_graphs import CrystalGraph, read_graphs
from rho2prop.features.registry import BLOCKS, COHESIVE_ENERGY, GRAPH, LATENT, LATENT_PCA, SHARES

# Of scaled columns. Symmetry makes values of many crystals equal but for rounding noise, and trees put their thresholds
# between any two: without this, another cell of the same crystal ended on another side (2 % in a prediction).
DECIMALS = 6
CONSTANT_RELATIVE = 1e-10  # a column whose spread is below this share of its size carries rounding noise only


@dataclass(frozen=True)
class Latents:
    """Averaged latents (``rho2prop.autoencoder.encoding``): ``values`` (N, C, D, H, W) for ``material_ids`` (N,)."""

    material_ids: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class BlockData:
    """Features of materials by block.

    Parameters
    ----------
    tables
        Block name to table, index ``material_id``, float columns.
    latents
        Scope to latents or to their file. The one key ``all``: one autoencoder for every fold. Otherwise the
        keys are ``<split>-<fold>`` (``all-final`` for the final models): an autoencoder for each fold. Those of
        another field than the total density start with it: ``deformation-all``.
    sources
        Block name to its file, for messages.
    graphs
        Material id to its crystal graph (``rho2prop.features.crystal_graphs``).
    """

    tables: dict[str, pd.DataFrame]
    latents: dict[str, Latents | Path] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    graphs: dict[str, CrystalGraph] = field(default_factory=dict)

    def table(self, block: str, material_ids: list[str]) -> pd.DataFrame:
        """Rows of a block in the order of ``material_ids``, float64."""
        source = self.sources.get(block, f"feature block {block!r}")
        if block not in self.tables:
            raise InputError(source, "this feature block is missing", f"Known blocks: {', '.join(self.tables)}")
        missing = [name for name in material_ids if name not in self.tables[block].index]
        if missing:
            raise _missing_rows(source, missing)
        rows = self.tables[block].loc[list(material_ids)].astype(np.float64)
        infinite = np.isinf(rows.to_numpy())
        if infinite.any():
            row, column = np.argwhere(infinite)[0]
            raise InputError(
                source,
                f"{rows.index[row]}: {rows.columns[column]} is infinite",
                "Correct the value",
            )
        blank = rows.columns[rows.isna().any()]
        lost = [column for column in blank if not BLOCKS[block].is_blank_allowed(column)]
        if lost:
            name = rows.index[rows[lost[0]].isna()][0]
            problem = f"{name}: {lost[0]} is blank, which this block knows of every crystal ({len(lost)} such columns)"
            raise InputError(source, problem, "Compute the block again (delete the file)")
        return rows

    def latent(self, split: str, fold: str, material_ids: list[str], density_field: str = TOTAL) -> np.ndarray:
        """Latents of a field in the order of ``material_ids``, as stored, shape (N, C, D, H, W)."""
        prefix = "" if density_field == TOTAL else f"{density_field}-"
        scope = f"{prefix}all" if f"{prefix}all" in self.latents else f"{prefix}{split}-{fold}"
        if scope not in self.latents:
            raise InputError(
                f"latents of scope {scope!r}",
                "not given",
                f"Given scopes: {', '.join(self.latents) or 'none'}",
            )
        given = self.latents[scope]
        source = str(given) if isinstance(given, Path) else f"latents of scope {scope!r}"
        latents = _read_latents(given, given.stat().st_mtime_ns) if isinstance(given, Path) else given
        row_of = {str(name): row for row, name in enumerate(latents.material_ids)}
        missing = [name for name in material_ids if name not in row_of]
        if missing:
            raise _missing_rows(source, missing)
        values = latents.values[[row_of[name] for name in material_ids]]
        if not np.isfinite(values).all():
            raise InputError(source, "a latent holds NaN or infinite values", "Encode it again (delete the file)")
        return values

    def graph(self, material_ids: list[str]) -> list[CrystalGraph]:
        """Graphs in the order of ``material_ids``."""
        missing = [name for name in material_ids if name not in self.graphs]
        if missing:
            raise _missing_rows(self.sources.get(GRAPH, "the graphs"), missing)
        return [self.graphs[name] for name in material_ids]


@dataclass(frozen=True)
class DesignMatrix:
    """Inputs of a model.

    ``tabular`` (N, F), the block of each column, ``latent`` (N, C, D, H, W) with the channels of all latent blocks or
    None, ``graphs`` (N,) or None, ``energy_zero`` (N,) in eV per atom or None: what atomization energies are learned
    relative to; ``column_names`` (F,), ``<block>.<column>``, which fits may read.
    """

    tabular: np.ndarray
    column_blocks: list[str]
    latent: np.ndarray | None
    graphs: list[CrystalGraph] | None = None
    energy_zero: np.ndarray | None = None
    column_names: tuple[str, ...] = ()

    def rows(self, selection: np.ndarray) -> "DesignMatrix":
        """The selected rows (boolean mask or indices)."""
        latent = None if self.latent is None else self.latent[selection]
        chosen = np.arange(len(self.tabular))[selection]
        graphs = None if self.graphs is None else [self.graphs[row] for row in chosen]
        energy_zero = None if self.energy_zero is None else self.energy_zero[selection]
        tabular, names = self.tabular[selection], self.column_names
        return DesignMatrix(tabular, self.column_blocks, latent, graphs, energy_zero, names)


@dataclass(frozen=True)
class Design:
    """Fitted feature preparation: ``arrays`` named ``<block>.<role>`` and the ``columns`` kept of each block."""

    blocks: tuple[str, ...]
    columns: dict[str, list[str]]
    arrays: dict[str, np.ndarray]

    def apply(self, features: BlockData, split: str, fold: str, material_ids: list[str]) -> DesignMatrix:
        """Design matrix of any materials; nothing is fitted."""
        parts, column_blocks, latents, graphs, energy_zero = [np.empty((len(material_ids), 0))], [], [], None, None
        names = []
        for block in self.blocks:
            form, density_field = BLOCKS[block].form, BLOCKS[block].field
            if form == GRAPH:
                graphs = features.graph(material_ids)
                continue
            mean, scale = self.arrays[f"{block}.mean"], self.arrays[f"{block}.scale"]
            if form == LATENT:
                values = features.latent(split, fold, material_ids, density_field)
                latents.append((np.asarray(values, dtype=np.float32) - mean) / scale)
                continue
            if form == LATENT_PCA:
                flat = _flat(features.latent(split, fold, material_ids, density_field))
                values = ((flat - mean) / scale) @ self.arrays[f"{block}.components"].T
            else:
                rows = features.table(block, material_ids)
                absent = [name for name in self.columns[block] if name not in rows.columns]
                if absent:
                    raise InputError(
                        features.sources.get(block, block),
                        f"column {absent[0]!r} of the trained model is missing ({len(absent)} in all)",
                        "Compute the features with the version that trained the model, or train again",
                    )
                rows = rows[self.columns[block]].to_numpy()
                known = np.where(np.isnan(rows), mean, rows)
                if block == COHESIVE_ENERGY:
                    energy_zero = known[:, 0]
                    continue
                values = np.round((known - mean) / scale, DECIMALS)
            parts.append(values)
            column_blocks += [block] * values.shape[1]
            names += [f"{block}.{name}" for name in self.columns.get(block, range(values.shape[1]))]
        latent = np.concatenate(latents, axis=1) if latents else None
        tabular = np.hstack(parts).astype(np.float64)
        return DesignMatrix(tabular, column_blocks, latent, graphs, energy_zero, tuple(names))

    def save(self, folder: Path) -> None:
        """Write ``design.npz`` (arrays) and ``design.json`` (names)."""
        np.savez(folder / "design.npz", **cast(dict[str, Any], self.arrays))
        record = {"blocks": self.blocks, "columns": self.columns}
        (folder / "design.json").write_text(json.dumps(record, indent=1))


def load_design(folder: Path) -> Design:
    """Read a design that ``Design.save`` writes."""
    record = json.loads((folder / "design.json").read_text())
    with np.load(folder / "design.npz") as arrays:
        return Design(tuple(record["blocks"]), record["columns"], {name: arrays[name] for name in arrays.files})


def fit_design(
    blocks: Sequence[str],
    features: BlockData,
    split: str,
    fold: str,
    train_ids: list[str],
    n_components: int,
    seed: int,
) -> Design:
    """Fit imputation, scaling and PCA on the training part of one fold.

    Parameters
    ----------
    blocks
        Names of the blocks in order; none for the mean.
    features
        Features of (at least) the training materials.
    split, fold
        Which fold: chooses the latents where each fold has its autoencoder.
    train_ids
        Training part, without validation and test.
    n_components
        Wanted PCA components of the flattened latents; at most one less than the rows.
    seed
        Seed of the randomised PCA.
    """
    columns: dict[str, list[str]] = {}
    arrays: dict[str, np.ndarray] = {}
    for block in blocks:
        form = BLOCKS[block].form
        if form == GRAPH:
            continue
        if form in (LATENT, LATENT_PCA):
            latent = features.latent(split, fold, train_ids, BLOCKS[block].field)
            if form == LATENT:  # one mean and scale for each channel
                values = np.asarray(latent, dtype=np.float32)
                mean = values.mean(axis=(0, 2, 3, 4), keepdims=True, dtype=np.float64)[0]
                scale = values.std(axis=(0, 2, 3, 4), keepdims=True, dtype=np.float64)[0]
                arrays |= {f"{block}.mean": mean.astype(np.float32), f"{block}.scale": _nonzero(scale)}
            else:
                arrays |= _fit_pca(block, _flat(latent), n_components, seed)
            continue
        rows = features.table(block, train_ids)
        values = rows.to_numpy()
        known = ~np.isnan(values)
        n_known = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, values, 0.0).sum(axis=0) / n_known
        scale = np.sqrt((np.where(known, values - mean, 0.0) ** 2).sum(axis=0) / n_known)
        kept = (scale > CONSTANT_RELATIVE * np.maximum(np.abs(mean), 1e-300)) | (block == COHESIVE_ENERGY)
        columns[block] = [name for name, keep in zip(rows.columns, kept, strict=True) if keep]
        if block == SHARES:  # elements count neither alike (rare ones would decide) nor by how often they occur
            scale = np.sqrt(scale)
        arrays |= {f"{block}.mean": mean[kept], f"{block}.scale": scale[kept]}
    return Design(tuple(blocks), columns, arrays)


def read_blocks(tables: dict[str, Path], latents: dict[str, Path], graphs: Path | None = None) -> BlockData:
    """Read feature tables and graphs; latents are read when they are first needed.

    Parameters
    ----------
    tables
        Block name to CSV file with ``material_id`` and float columns.
    latents
        Scope to npz file; see ``BlockData``.
    graphs
        File of ``rho2prop.features.crystal_graphs.write_graphs``.
    """
    frames = {}
    for block, path in tables.items():
        # A converter, so that an id such as "NA" stays a string.
        frame = pd.read_csv(path, converters={"material_id": str}, float_precision="round_trip")
        frame = frame.set_index("material_id")
        if frame.index.duplicated().any():
            name = frame.index[frame.index.duplicated()][0]
            raise InputError(path, f"material {name!r} appears twice", "Delete one of the rows")
        try:
            frames[block] = frame.astype(np.float64)
        except ValueError as error:
            raise InputError(path, f"not all features are numbers ({error})", "Compute the block again") from error
    return BlockData(
        frames,
        {scope: Path(path) for scope, path in latents.items()},
        {block: str(p) for block, p in tables.items()} | ({GRAPH: str(graphs)} if graphs else {}),
        read_graphs(graphs) if graphs else {},
    )


@lru_cache(maxsize=2)
def _read_latents(path: Path, modified_ns: int) -> Latents:  # the time stamp keeps a rewritten file from being stale
    try:
        with np.load(path) as arrays:
            return Latents(arrays["material_ids"], arrays["averaged"])
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise InputError(path, f"not a readable file of latents ({error})", "Delete it and run again") from error


def _fit_pca(block: str, flat: np.ndarray, n_components: int, seed: int) -> dict[str, np.ndarray]:
    from sklearn.decomposition import PCA

    mean = flat.mean(axis=0, dtype=np.float64).astype(np.float32)
    scale = _nonzero(flat.std(axis=0, dtype=np.float64))
    n_kept = max(1, min(n_components, flat.shape[0] - 1, flat.shape[1]))
    pca = PCA(n_kept, random_state=seed).fit((flat - mean) / scale)  # the scaled rows have zero mean already
    informative = pca.explained_variance_ > CONSTANT_RELATIVE * pca.explained_variance_[0]
    components = pca.components_[informative].astype(np.float32)
    return {f"{block}.mean": mean, f"{block}.scale": scale, f"{block}.components": components}


def _flat(latent: np.ndarray) -> np.ndarray:
    return np.asarray(latent, dtype=np.float32).reshape(len(latent), -1)


def _nonzero(scale: np.ndarray) -> np.ndarray:
    return np.where(scale > 0, scale, 1.0).astype(np.float32)


def _missing_rows(source: str, missing: list[str]) -> InputError:
    return InputError(
        source,
        f"no features for {len(missing)} material(s), the first is {missing[0]!r}",
        "Compute the block for them",
    )
