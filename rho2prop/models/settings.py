"""Settings of the models: one frozen dataclass per section of the configuration. Imports nothing slow."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class ModelSettings:
    """Settings of models; ``section`` is their key in the configuration, if they are one section."""

    section: ClassVar[str] = ""


@dataclass(frozen=True)
class BoostingSettings(ModelSettings):
    """Search and training of LightGBM; ``learning_rate``: range of the search."""

    section: ClassVar[str] = "lightgbm"
    n_trials: int
    max_rounds: int
    patience: int
    learning_rate: tuple[float, float]
    max_bin: int


@dataclass(frozen=True)
class GaussianProcessSettings(ModelSettings):
    """Numbers of rows that choose the hyper-parameters, are solved exactly, stand for all others.

    Parameters
    ----------
    likelihood_rows
        Most rows that choose the hyper-parameters all together.
    subset_rows
        Random rows that choose them where there are more.
    exact_rows
        Most rows that are solved exactly.
    inducing_rows
        Inducing points where there are more.
    max_mem_mb
        Most memory that a job may request; more materials than fit are refused before anything runs.
    """

    section: ClassVar[str] = "gaussian_process"
    likelihood_rows: int
    subset_rows: int
    exact_rows: int
    inducing_rows: int
    max_mem_mb: int


@dataclass(frozen=True)
class BlendSettings(ModelSettings):
    """Sections of the members of the blend."""

    gaussian_process: GaussianProcessSettings
    lightgbm: BoostingSettings


@dataclass(frozen=True)
class NetworkSettings(ModelSettings):
    """Random search and training of a network; fields of subclasses are fixed parts of its shape."""

    n_trials: int
    max_epochs: int
    patience: int
    batch_size: int


@dataclass(frozen=True)
class CnnSettings(NetworkSettings):
    """Convolutional networks; ``channels`` of the residual blocks."""

    section: ClassVar[str] = "attention_cnn"
    channels: tuple[int, ...]


@dataclass(frozen=True)
class GraphNetworkSettings(NetworkSettings):
    """Graph network: features of atoms and bonds, convolutions."""

    section: ClassVar[str] = "graph_network"
    width: int
    layers: int
