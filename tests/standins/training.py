"""An autoencoder trained on density files, its store of grids written before."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rho2prop.autoencoder.grid_store import StoreContent
from rho2prop.autoencoder.grid_writing import write_store
from rho2prop.autoencoder.request import TrainingRequest, TrainingSettings
from rho2prop.autoencoder.training import train
from rho2prop.densities.grids import Grid


def request_on(
    paths: list[tuple[str, Path]],
    split: Mapping[str, str],
    settings: TrainingSettings,
    grid: Grid,
    out_dir: Path,
    **options: Any,
) -> TrainingRequest:
    """Request for a training on density files. Store and, unless given, ``work_dir`` lie beside ``out_dir``."""
    store = out_dir.with_name(f"grids of {out_dir.name}")
    field = options.get("field", "total")
    write_store(store, paths, StoreContent(field, grid, settings.grid_precision), out_dir.with_name("unfinished grids"))
    return TrainingRequest(store, split, settings, grid, out_dir, **({"work_dir": out_dir.with_name("work")} | options))


def train_on(*arguments: Any, **options: Any) -> None:
    """Train an autoencoder on density files, with the arguments of ``request_on``."""
    train(request_on(*arguments, **options))
