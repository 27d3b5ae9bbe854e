"""Request for a training of the autoencoder: settings, grids and folders."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from rho2prop.densities.field_names import TOTAL
from rho2prop.densities.grids import Grid


@dataclass(frozen=True)
class TrainingSettings:
    """Keys of the section ``autoencoder`` of the configuration that a training depends on.

    The other two, ``scope`` and ``compared_fields``, tell the workflow which autoencoders to train.

    Parameters
    ----------
    network
        Architecture: ``fast`` (space-to-depth stem) or ``paper`` (convolutions and pooling, 16-32-32 channels).
    latent_size
        Voxels along each edge of the latent: 4, 8, 16 or 32.
    dropout
        Share of channels dropped in training, from 0 to below 1.
    orientations_per_epoch
        How many of the 12 orientations each density is shown in, drawn anew each epoch.
    batch_size
        Grids per step.
    learning_rate
        Of Adam; falls to 1 % along a cosine over ``max_epochs``.
    max_epochs
        Most epochs.
    patience
        Epochs without a better validation loss before stopping.
    precision
        Of the arithmetic: ``auto`` (bf16 where the hardware gains), ``bf16`` or ``fp32``.
    grid_precision
        Of the stored grids: ``fp32``, ``bf16`` or ``fp16``.
    threads
        CPU threads of each process; the last digits depend on them.
    devices, nodes
        GPUs per node (ignored on a CPU) and nodes.
    """

    network: Literal["fast", "paper"]
    latent_size: int
    dropout: float
    orientations_per_epoch: int
    batch_size: int
    learning_rate: float
    max_epochs: int
    patience: int
    precision: Literal["auto", "bf16", "fp32"]
    grid_precision: Literal["fp32", "bf16", "fp16"]
    threads: int
    devices: int
    nodes: int


@dataclass(frozen=True)
class TrainingRequest:
    """One training of one autoencoder.

    Parameters
    ----------
    grids
        Store of the grids of all materials (``rho2prop.autoencoder.grid_writing``).
    split
        Part (train, validation, test) of each material; grids of the test part are not read.
    settings, grid
        Sections ``autoencoder`` and ``grid`` of the configuration, with which the store was written.
    out_dir
        Folder for ``model.safetensors``, ``model.json``, ``history.csv``, ``split.csv``.
    work_dir
        Folder of the checkpoint; an interrupted training resumes from it. It is removed once the result is written.
    seed
        Seed of weights, order, orientations and dropout.
    field
        Which field of the densities (``rho2prop.densities.fields``).
    mem_mb
        Memory in MB that the rule asks for, where it is known.
    """

    grids: Path
    split: Mapping[str, str]
    settings: TrainingSettings
    grid: Grid
    out_dir: Path
    work_dir: Path
    seed: int
    field: str = TOTAL
    mem_mb: int | None = None

    def to_json(self) -> str:
        """The request as JSON text."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> "TrainingRequest":
        """Read what ``to_json`` wrote."""
        content = json.loads(text)
        return cls(
            grids=Path(content.pop("grids")),
            settings=TrainingSettings(**content.pop("settings")),
            grid=Grid(**content.pop("grid")),
            out_dir=Path(content.pop("out_dir")),
            work_dir=Path(content.pop("work_dir")),
            **content,
        )
