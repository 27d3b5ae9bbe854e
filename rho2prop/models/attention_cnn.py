"""Attention-enhanced 3D CNN on latent charge densities, with a branch for tabular descriptors.

Residual 3D convolution blocks with batch normalisation and Swish, each with dual attention (channel, then
spatial: S. Woo et al., CBAM, ECCV 2018), global average pooling, an MLP branch, and a head of one to three
dense layers, as the paper describes its network (section 6 and figure 7).
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from rho2prop.models.network_training import Inputs, NetworkModel
from rho2prop.models.settings import NetworkSettings

REDUCTION = 16
# In standard deviations. A descriptor that hardly varies in training (magnetic moments of 1e-5) can lie 1e5
# of them off in a new material, and a linear layer would follow it there.
TABULAR_BOUND = 5.0
SPATIAL_ATTENTION_CHANNELS = 4
STRIDE_FROM_SIZE = 8  # blocks halve latents this wide or wider, so that the CPU cost stays small


@dataclass(frozen=True)
class AttentionCnnConfig:
    """Shape of the network; ``latent_channels`` or ``n_tabular`` may be 0, not both.

    The fields with a default are absent from bundles written before they could be set; the defaults are what those
    networks have. ``tabular_dropout`` None: as ``dropout``. Others: ``rho2prop.models.settings.CnnSettings``.
    """

    latent_channels: int
    latent_size: int
    n_tabular: int
    n_outputs: int
    channels: tuple[int, ...]
    head_depth: int
    head_width: int
    dropout: float
    stem: int = 0
    blocks_per_stage: int = 1
    tabular_widths: tuple[int, ...] = ()
    tabular_dropout: float | None = None


class ChannelAttention(nn.Module):
    """Weight of each channel from its global average and maximum through one shared two-layer perceptron."""

    def __init__(self, channels: int):
        super().__init__()
        hidden = max(channels // REDUCTION, 2)
        self.perceptron = nn.Sequential(nn.Linear(channels, hidden), nn.SiLU(), nn.Linear(hidden, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, C, D, H, W)
        average = self.perceptron(x.mean(dim=(2, 3, 4)))  # (B, C)
        maximum = self.perceptron(x.amax(dim=(2, 3, 4)))
        return x * torch.sigmoid(average + maximum)[:, :, None, None, None]


class SpatialAttention(nn.Module):
    """Weight of each voxel from the mean and maximum over channels, by two 3×3×3 convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv3d(2, SPATIAL_ATTENTION_CHANNELS, 3, padding=1),
            nn.SiLU(),
            nn.Conv3d(SPATIAL_ATTENTION_CHANNELS, 1, 3, padding=1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, C, D, H, W)
        summary = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)  # (B, 2, D, H, W)
        return x * torch.sigmoid(self.convolutions(summary))


class ResidualBlock(nn.Module):
    """Two 3×3×3 convolutions, dual attention unless switched off, and the residual path."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, has_attention: bool = True):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv3d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm3d(channels_out),
            nn.SiLU(),
            nn.Conv3d(channels_out, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm3d(channels_out),
            *((ChannelAttention(channels_out), SpatialAttention()) if has_attention else ()),
        )
        same = stride == 1 and channels_in == channels_out
        self.shortcut = nn.Identity() if same else nn.Conv3d(channels_in, channels_out, 1, stride=stride, bias=False)
        self.activation = nn.SiLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.activation(self.body(x) + self.shortcut(x))


class AttentionCnn(nn.Module):
    """Latents, tabular descriptors or both to ``n_outputs`` targets (scaled to the unit interval)."""

    def __init__(self, config: AttentionCnnConfig):
        super().__init__()
        if not config.latent_channels and not config.n_tabular:
            raise ValueError("the attention CNN needs latents, tabular descriptors or both")
        self.config = config
        width = 0
        if config.latent_channels:
            layers, channels_in, size = list[nn.Module](), config.latent_channels, config.latent_size
            if config.stem:
                layers, channels_in, size = [stem(channels_in, config.stem)], config.stem, -(-size // 2)
            for channels in config.channels:
                stride = 2 if size >= STRIDE_FROM_SIZE else 1
                layers += stage(channels_in, channels, stride, config.blocks_per_stage)
                channels_in, size = channels, -(-size // stride)
            self.volume_branch = nn.Sequential(*layers)
            width += channels_in
        if config.n_tabular:
            dropout = config.dropout if config.tabular_dropout is None else config.tabular_dropout
            widths = config.tabular_widths or (config.head_width,)
            branch = [dense(*pair, dropout) for pair in pairwise((config.n_tabular, *widths))]
            # one layer stands alone: so the weights of bundles are named
            self.tabular_branch = nn.Sequential(*branch) if config.tabular_widths else branch[0]
            width += widths[-1]
        head = []
        for _ in range(config.head_depth - 1):
            head.append(dense(width, config.head_width, config.dropout))
            width = config.head_width
        self.head = nn.Sequential(*head, nn.Linear(width, config.n_outputs))

    def forward(self, latent: torch.Tensor | None, tabular: torch.Tensor | None) -> torch.Tensor:
        """``latent`` (B, C, D, H, W) and ``tabular`` (B, F) to (B, T); an absent branch ignores its input."""
        parts = []
        if self.config.latent_channels:
            parts.append(self.volume_branch(latent).mean(dim=(2, 3, 4)))  # (B, C)
        if self.config.n_tabular:
            assert tabular is not None
            parts.append(self.tabular_branch(tabular.clamp(-TABULAR_BOUND, TABULAR_BOUND)))
        return self.head(torch.cat(parts, dim=1))


def stem(channels_in: int, channels_out: int) -> nn.Sequential:
    """Convolution and 2× pooling before the stages; an odd edge is rounded up."""
    return nn.Sequential(
        nn.Conv3d(channels_in, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm3d(channels_out),
        nn.SiLU(),
        nn.MaxPool3d(2, ceil_mode=True),
    )


def stage(channels_in: int, channels_out: int, stride: int, n_blocks: int) -> list[nn.Module]:
    """Residual blocks of one width; the first has the stride and the attention."""
    more = [ResidualBlock(channels_out, channels_out, 1, has_attention=False) for _ in range(n_blocks - 1)]
    return [ResidualBlock(channels_in, channels_out, stride), *more]


def dense(width_in: int, width_out: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width_in, width_out), nn.BatchNorm1d(width_out), nn.SiLU(), nn.Dropout(dropout))


class AttentionCnnModel(NetworkModel):
    """Estimator of the attention CNN."""

    architecture = "attention_cnn"
    network: type[nn.Module] = AttentionCnn

    @classmethod
    def build(cls, shape: dict) -> nn.Module:
        lists = {name: tuple(shape[name]) for name in ("channels", "tabular_widths") if name in shape}
        return cls.network(AttentionCnnConfig(**shape | lists))

    @classmethod
    def shape(cls, inputs: Inputs, trial: dict, settings: NetworkSettings) -> dict:
        fixed = settings.shape
        if fixed["tabular_dropout"] is None:
            fixed["tabular_dropout"] = trial["dropout"]
        return fixed | {
            "latent_channels": 0 if inputs.latent is None else inputs.latent.shape[1],
            "latent_size": 0 if inputs.latent is None else inputs.latent.shape[2],
            "n_tabular": 0 if inputs.tabular is None else inputs.tabular.shape[1],
            **{name: trial[name] for name in ("head_depth", "head_width", "dropout")},
        }
