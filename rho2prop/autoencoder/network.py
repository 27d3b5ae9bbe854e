"""The 3D convolutional autoencoders: the paper's network and a fast one, with the same latents."""

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from rho2prop.core.errors import InputError

LATENT_CHANNELS = 16


@dataclass(frozen=True)
class AutoencoderConfig:
    """Shape of an autoencoder.

    Parameters
    ----------
    network
        ``paper`` or ``fast``.
    grid_size
        Voxels along each edge of the input.
    latent_size
        Voxels along each edge of the latent, which has 16 channels.
    dropout
        Share of channels dropped after each convolutional block in training.
    """

    network: str
    grid_size: int
    latent_size: int
    dropout: float = 0.05

    def __post_init__(self) -> None:
        factor = self.grid_size / self.latent_size
        if factor < 2 or not math.log2(factor).is_integer():
            raise InputError(
                "config autoencoder.latent_size",
                f"grid.size {self.grid_size} is not 2, 4, 8, … times the latent size {self.latent_size}",
                "Change one of the two",
            )

    @property
    def n_halvings(self) -> int:
        """Number of times the edge is halved from grid to latent."""
        return round(math.log2(self.grid_size / self.latent_size))


def build_autoencoder(config: AutoencoderConfig) -> "Autoencoder":
    """The network of a configuration, its weights drawn from torch's current generator."""
    if config.network == "paper":
        return Autoencoder(config, *_paper_network(config))
    if config.network == "fast":
        return Autoencoder(config, *_fast_network(config))
    raise ValueError(f"unknown autoencoder network {config.network!r}; use paper or fast")


class Autoencoder(nn.Module):
    """Encoder and decoder; ``forward`` reconstructs.

    With ``recompute``, for the paper's network, a training does not keep the activations of full resolution, which take
    most of its memory, but computes them again for the gradients: the same bits, a little slower.
    """

    def __init__(self, config: AutoencoderConfig, encoder: nn.Sequential, decoder: nn.Sequential):
        super().__init__()
        self.config, self.encoder, self.decoder = config, encoder, decoder
        self.recompute = False

    def forward(self, grids: torch.Tensor) -> torch.Tensor:
        """Reconstruct grids.

        Parameters
        ----------
        grids
            e/Å³, shape (B, 1, D, H, W).

        Returns
        -------
        torch.Tensor
            e/Å³, same shape.
        """
        if not (self.training and self.recompute):
            return self.decoder(self.encoder(grids))
        first = next(n for n, layer in enumerate(self.encoder, 1) if isinstance(layer, nn.MaxPool3d))
        hidden = self.decoder[:-2](self.encoder[first:](_recomputed(self.encoder[:first], grids)))
        return _recomputed(self.decoder[-2:], hidden)


def _recomputed(layers: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """Output of layers whose activations are computed again for the gradients, with the same dropout."""
    contexts = (nullcontext(), _with_running_means_kept(layers))
    return checkpoint(layers, features, use_reentrant=False, context_fn=lambda: contexts)


@contextmanager
def _with_running_means_kept(layers: nn.Module) -> Iterator[None]:
    """Give batch norms copies of their running means to update: the first pass has updated the real ones."""
    kept = [(layer, layer._buffers) for layer in layers.modules()]
    for layer, buffers in kept:
        layer._buffers = {name: buffer if buffer is None else buffer.clone() for name, buffer in buffers.items()}
    try:
        yield
    finally:
        for layer, buffers in kept:
            layer._buffers = buffers


def _paper_network(config: AutoencoderConfig) -> tuple[nn.Sequential, nn.Sequential]:
    """Conv3D 16-32-32 with 2× max-pooling, then Conv3D 16: sec. 4 and Fig. 4 of arXiv:2605.07227.

    Batch norm and dropout follow each convolutional block, as the text says; a ratio of grid to latent other than
    8 takes fewer or more blocks of 32 channels.
    """
    widths = [16, 32, 32, 32, 32, 32][: config.n_halvings]
    encoder, channels = [], 1
    for width in widths:
        encoder += [*_paper_block(channels, width, config.dropout), nn.MaxPool3d(2)]
        channels = width
    encoder += [nn.Conv3d(channels, LATENT_CHANNELS, 3, padding=1), nn.ReLU()]
    decoder, channels = [], LATENT_CHANNELS
    for width in reversed(widths):
        decoder += [*_paper_block(channels, width, config.dropout), nn.Upsample(scale_factor=2)]
        channels = width
    decoder += [nn.Conv3d(channels, 1, 3, padding=1)]
    return nn.Sequential(*encoder), nn.Sequential(*decoder)


def _paper_block(n_in: int, n_out: int, dropout: float) -> list[nn.Module]:
    convolution = nn.Conv3d(n_in, n_out, 3, padding=1)
    return [convolution, nn.ReLU(), nn.BatchNorm3d(n_out), nn.Dropout3d(dropout)]


def _fast_network(config: AutoencoderConfig) -> tuple[nn.Sequential, nn.Sequential]:
    """Space-to-depth stem, residual blocks at low resolution, pixel-shuffle head.

    The first layer folds patches of at most 4³ voxels into channels, so that no convolution runs at full
    resolution; the rest halves the edge with strided convolutions.
    """
    patch = 2 ** min(2, config.n_halvings)
    n_strided = config.n_halvings - int(math.log2(patch))
    widths = [32 * 2 ** min(i, 1) for i in range(n_strided + 1)]
    encoder = [nn.Conv3d(1, widths[0], patch, stride=patch), ResidualBlock(widths[0], config.dropout)]
    for narrow, wide in pairwise(widths):
        encoder += [nn.Conv3d(narrow, wide, 2, stride=2), ResidualBlock(wide, config.dropout)]
    encoder += [nn.Conv3d(widths[-1], LATENT_CHANNELS, 1)]
    decoder = [nn.Conv3d(LATENT_CHANNELS, widths[-1], 3, padding=1), ResidualBlock(widths[-1], config.dropout)]
    for narrow, wide in reversed(list(pairwise(widths))):
        decoder += [nn.ConvTranspose3d(wide, narrow, 2, stride=2), ResidualBlock(narrow, config.dropout)]
    decoder += [nn.Conv3d(widths[0], patch**3, 3, padding=1), PixelShuffle3d(patch)]
    return nn.Sequential(*encoder), nn.Sequential(*decoder)


class ResidualBlock(nn.Module):
    """Two 3³ convolutions with batch norm around an identity."""

    def __init__(self, width: int, dropout: float):
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm3d(width),
            nn.ReLU(),
            nn.Conv3d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm3d(width),
            nn.ReLU(),
            nn.Dropout3d(dropout),
            nn.Conv3d(width, width, 3, padding=1),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Shape (B, C, D, H, W) in and out."""
        return features + self.body(features)


class PixelShuffle3d(nn.Module):
    """Unfold channels into patches: (B, p³, D, H, W) to (B, 1, pD, pH, pW)."""

    def __init__(self, patch: int):
        super().__init__()
        self.patch = patch

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """The inverse of folding patches into channels."""
        p = self.patch
        batch, _, depth, height, width = features.shape
        unfolded = features.reshape(batch, p, p, p, depth, height, width).permute(0, 4, 1, 5, 2, 6, 3)
        return unfolded.reshape(batch, 1, p * depth, p * height, p * width)
