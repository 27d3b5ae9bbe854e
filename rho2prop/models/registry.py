"""Families of models: what each reads and is fitted with. Nothing slow is imported: the Snakefile reads this."""

import math
from dataclasses import dataclass

from rho2prop.core.errors import InputError, suggestion
from rho2prop.features.registry import BLOCKS, COHESIVE_ENERGY, GRAPH, LATENT, LATENT_PCA, NO_FEATURES, TABLE, sort_of

ATTENTION_CNN, MULTISCALE_CNN, GRAPH_NETWORK = "attention_cnn", "multiscale_cnn", "graph_network"

MEAN, LIGHTGBM, GAUSSIAN_PROCESS, BLEND = "mean", "lightgbm", "gaussian_process", "blend"
SINGLE_TASK = "multiscale_cnn_single"  # one network for each target instead of one for all
LEAST_LABELS = 10  # of a property, over the whole table
LEAST_TRAIN_LABELS = 5  # of a property, in each fold
LEAST_NETWORK_ROWS = 2  # to validate a network by
MULTISCALE_HEADS = 4  # of the self-attention of the multi-scale CNN: its width must be a multiple


@dataclass(frozen=True)
class Model:
    """A family of models.

    Parameters
    ----------
    reads
        Sorts of blocks that it takes.
    section
        Section of the configuration that it is fitted with; empty for none.
    is_network
        Trained on a GPU where there is one.
    package
        Python package that it needs beside the requirements; empty for none.
    """

    reads: tuple[str, ...]
    section: str = ""
    is_network: bool = False
    package: str = ""

    @property
    def least_validation_labels(self) -> int:
        """Labelled rows that the validation part of each fold must have."""
        return LEAST_NETWORK_ROWS if self.is_network else 1

    @property
    def tells_blocks_apart(self) -> bool:
        """Whether the importance of each block can be told; blocks of densities alone share their channels."""
        return TABLE in self.reads


MODELS = {
    MEAN: Model(()),
    LIGHTGBM: Model((TABLE, LATENT_PCA), LIGHTGBM),
    GAUSSIAN_PROCESS: Model((TABLE, LATENT_PCA)),
    BLEND: Model((TABLE, LATENT_PCA), LIGHTGBM),
    ATTENTION_CNN: Model((TABLE, LATENT_PCA, LATENT), ATTENTION_CNN, is_network=True),
    MULTISCALE_CNN: Model((LATENT,), ATTENTION_CNN, is_network=True),
    SINGLE_TASK: Model((LATENT,), ATTENTION_CNN, is_network=True),
    GRAPH_NETWORK: Model((GRAPH,), GRAPH_NETWORK, is_network=True, package="alignn"),
}
NETWORKS = tuple(name for name, model in MODELS.items() if model.is_network)
OTHERS = tuple(name for name in MODELS if name not in NETWORKS)


def check(model: str, blocks: list[str], place: str = "evaluation.regressions") -> None:
    """Whether a family takes these feature blocks; InputError says what to change.

    Parameters
    ----------
    model
        Name of the family.
    blocks
        Names of the blocks; none for the mean.
    place
        Key of the configuration that chose them.
    """
    if model not in MODELS:
        raise InputError(place, f"unknown model {model!r}", suggestion(model, MODELS))
    for block in blocks:
        if block not in BLOCKS:
            raise InputError(place, f"{model}: unknown feature block {block!r}", suggestion(block, BLOCKS))
    problem = f"{model} with the features {'+'.join(blocks) or NO_FEATURES!r}"
    if len(set(blocks)) < len(blocks):
        raise InputError(place, f"{problem}: a block appears twice", "Name each block once")
    if (model == MEAN) != (not blocks):
        fix = f'The mean takes the features "{NO_FEATURES}", every other model at least one block'
        raise InputError(place, problem, fix)
    if blocks == [COHESIVE_ENERGY]:
        fix = "Add blocks to learn from, such as magpie+cohesive_energy"
        raise InputError(place, f"{problem}: this block is the zero of formation energies and no feature", fix)
    wrong = [block for block in blocks if sort_of(block) not in MODELS[model].reads]
    if wrong:
        raise InputError(place, f"{problem}: it cannot read {wrong[0]!r}", _readable(model, wrong[0]))
    if model == GRAPH_NETWORK and len(blocks) > 1:
        raise InputError(place, problem, f"It takes the one block {GRAPH}")


def _readable(model: str, block: str) -> str:
    reads = MODELS[model].reads
    if sort_of(block) == LATENT and LATENT_PCA in reads:
        return f"Use {block}_pca, or a network"
    if reads == (LATENT,):
        return "It reads densities only: give it latent, or that of another field such as deformation_latent"
    if reads == (GRAPH,):
        return f"It takes the one block {GRAPH}"
    return "Choose among " + ", ".join(block for block in BLOCKS if sort_of(block) in reads)


def least_labels(model: str, n_folds: int, validation_fraction: float) -> int:
    """Fewest labelled materials of which a model can be trained in each fold, with random folds (others need more)."""
    n = max(LEAST_LABELS, n_folds)
    while not is_enough(n - math.ceil(n / n_folds), validation_fraction, MODELS[model].least_validation_labels):
        n += 1
    return n


def is_enough(n_remaining: int, validation_fraction: float, least_validation: int) -> bool:
    n_validation = max(1, round(validation_fraction * n_remaining))
    return n_validation >= least_validation and n_remaining - n_validation >= LEAST_TRAIN_LABELS
