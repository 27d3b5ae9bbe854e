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
class SearchRanges:
    """Ranges that the trials of a random search draw from.

    Parameters
    ----------
    head_widths
        Widths of the dense layers.
    dropout
        Lowest and highest share.
    learning_rate
        Lowest and highest, on a log scale.
    """

    head_widths: tuple[int, ...]
    dropout: tuple[float, float]
    learning_rate: tuple[float, float]


@dataclass(frozen=True)
class NetworkSettings(ModelSettings):
    """Random search and training of a network.

    Parameters
    ----------
    max_epochs
        Most epochs of a trial.
    max_samples
        Most training materials of a trial, counted in each epoch again: where there are many, epochs are fewer.
    """

    n_trials: int
    max_epochs: int
    max_samples: int
    patience: int
    batch_size: int

    @property
    def shape(self) -> dict:
        """Parts of the network's shape that are the same in all trials."""
        return {}

    @property
    def ranges(self) -> SearchRanges:
        """Ranges of the search. Networks without a head draw its parts all the same, so that seeds keep their meaning.

        Learning rates below gave validation losses on the bench that were twice as large after 100 epochs.
        """
        return SearchRanges((32, 64, 128), (0.0, 0.4), (4e-3, 1e-2))

    def epochs(self, n_train: int) -> int:
        """Epochs of a trial with ``n_train`` training materials, without early stopping."""
        return min(self.max_epochs, -(-self.max_samples // n_train))


@dataclass(frozen=True)
class CnnSettings(NetworkSettings):
    """Convolutional networks.

    Parameters
    ----------
    stem
        Channels of a convolution before the stages, which is followed by 2× pooling; 0 for none.
    channels
        Of each stage of residual blocks.
    blocks_per_stage
        Residual blocks of each stage, the first of them with attention.
    tabular_widths
        Dense layers of the descriptors' branch; none: one as wide as the head.
    tabular_dropout
        Of that branch; None: that of the head.
    head_widths, dropout, learning_rate
        ``SearchRanges``.
    """

    section: ClassVar[str] = "attention_cnn"
    stem: int
    channels: tuple[int, ...]
    blocks_per_stage: int
    tabular_widths: tuple[int, ...]
    tabular_dropout: float | None
    head_widths: tuple[int, ...]
    dropout: tuple[float, float]
    learning_rate: tuple[float, float]

    @property
    def shape(self) -> dict:
        names = ("stem", "channels", "blocks_per_stage", "tabular_widths", "tabular_dropout")
        return {name: getattr(self, name) for name in names}

    @property
    def ranges(self) -> SearchRanges:
        return SearchRanges(self.head_widths, self.dropout, self.learning_rate)


@dataclass(frozen=True)
class GraphNetworkSettings(NetworkSettings):
    """Graph network: features of atoms and bonds, convolutions."""

    section: ClassVar[str] = "graph_network"
    width: int
    layers: int

    @property
    def shape(self) -> dict:
        return {"width": self.width, "layers": self.layers}
