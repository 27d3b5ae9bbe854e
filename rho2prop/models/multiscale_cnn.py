"""CNN on latents alone that combines several scales by self-attention.

Each scale (the latent, and its means over 2³ and 4³ voxels) goes through residual blocks with dual attention and
is pooled by weights over its voxels that are learned; self-attention lets the scales read each other before the head.
One network for all targets is the idea of "universal" prediction from the density alone (arXiv, October 2025:
"Towards Universal Material Property Prediction with Deep Learning and Single-Descriptor electronic Density").
"""

from itertools import pairwise
from pathlib import Path
from typing import Self

import torch
from torch import nn

from rho2prop.features.design_matrix import DesignMatrix
from rho2prop.models.attention_cnn import AttentionCnnConfig, AttentionCnnModel, dense, stage
from rho2prop.models.estimator import Fitting, FoldData, Predictions
from rho2prop.models.network_training import Inputs
from rho2prop.models.registry import MULTISCALE_HEADS
from rho2prop.models.settings import NetworkSettings

N_SCALES = 3
SMALLEST = 2  # voxels along the edge of the coarsest scale


class VoxelPooling(nn.Module):
    """Mean over voxels with learned weights that sum to one."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Conv3d(channels, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, C, D, H, W) -> (B, C)
        weights = torch.softmax(self.weight(x).flatten(2), dim=2)  # (B, 1, V)
        return (x.flatten(2) * weights).sum(dim=2)


class MultiscaleCnn(nn.Module):
    """Latents to ``n_outputs`` targets (scaled to the unit interval)."""

    def __init__(self, config: AttentionCnnConfig):
        super().__init__()
        if not config.latent_channels or config.n_tabular:
            raise ValueError("the multi-scale CNN reads latents and nothing else")
        self.config = config
        width = config.channels[-1]
        self.factors = [2**i for i in range(N_SCALES) if config.latent_size // 2**i >= SMALLEST] or [1]
        self.scales = nn.ModuleList(
            nn.Sequential(
                *(
                    block
                    for pair in pairwise((config.latent_channels, *config.channels))
                    for block in stage(*pair, 1, config.blocks_per_stage)
                ),
                VoxelPooling(width),
            )
            for _ in self.factors
        )
        self.attention = nn.MultiheadAttention(width, MULTISCALE_HEADS, dropout=config.dropout, batch_first=True)
        self.norm = nn.LayerNorm(width)
        layers, inputs = [], width * len(self.factors)
        for _ in range(config.head_depth - 1):
            layers.append(dense(inputs, config.head_width, config.dropout))
            inputs = config.head_width
        self.head = nn.Sequential(*layers, nn.Linear(inputs, config.n_outputs))

    def forward(self, latent: torch.Tensor, tabular: None) -> torch.Tensor:
        """``latent`` (B, C, D, H, W) to (B, T)."""
        tokens = torch.stack(
            [
                scale(nn.functional.avg_pool3d(latent, factor))
                for factor, scale in zip(self.factors, self.scales, strict=True)
            ],
            dim=1,
        )  # (B, scales, width)
        read = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return self.head(self.norm(tokens + read).flatten(1))


class MultiscaleCnnModel(AttentionCnnModel):
    """Estimator of the multi-scale CNN."""

    architecture = "multiscale_cnn"
    network = MultiscaleCnn

    @classmethod
    def shape(cls, inputs: Inputs, trial: dict, settings: NetworkSettings) -> dict:
        without = {"stem": 0, "tabular_widths": ()}  # has neither a stem nor descriptors
        return super().shape(inputs, trial, settings) | without


class SingleTaskMultiscaleCnn(MultiscaleCnnModel):
    """Multi-scale CNNs, one per target, each in a folder of its name."""

    def __init__(self, members: dict[str, MultiscaleCnnModel] | None = None):
        super().__init__()
        self.members = members or {}

    def fit(self, data: FoldData, fitting: Fitting) -> Predictions:
        unseen: Predictions = {}
        for target in data.targets:
            self.members[target] = MultiscaleCnnModel()
            unseen |= self.members[target].fit(data.of_target(target), fitting)
        return unseen

    def predict(self, matrix: DesignMatrix) -> Predictions:
        return {target: member.predict(matrix)[target] for target, member in self.members.items()}

    def save(self, folder: Path) -> None:
        for target, member in self.members.items():
            (folder / target).mkdir()
            member.save(folder / target)

    @classmethod
    def load(cls, folder: Path, targets: list[str]) -> Self:
        return cls({target: MultiscaleCnnModel.load(folder / target, targets) for target in targets})
