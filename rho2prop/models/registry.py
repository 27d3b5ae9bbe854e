"""Registry of the models. Imports nothing slow, since the Snakefile reads it.

A new model is one class (``rho2prop.models.estimator.Estimator``) and one line in ``MODELS``. Rules, checks, labels and
bundles follow.
"""

import math
from dataclasses import dataclass

from rho2prop.core.errors import InputError, suggestion
from rho2prop.core.settings import read_section
from rho2prop.core.targets import TARGETS
from rho2prop.features.feature_sets import NO_FEATURES
from rho2prop.features.registry import BLOCKS, COHESIVE_ENERGY, GRAPH, LATENT, LATENT_PCA, TABLE
from rho2prop.models.settings import (
    BlendSettings,
    BoostingSettings,
    CnnSettings,
    GaussianProcessSettings,
    GraphNetworkSettings,
    ModelSettings,
)

MEAN, LIGHTGBM, GAUSSIAN_PROCESS, BLEND = "mean", "lightgbm", "gaussian_process", "blend"
FROM_KG = "_from_kg"  # end of the name of a model whose E and Θ were calculated from its K and G
LEAST_LABELS = 10  # of a property, over the whole table
LEAST_TRAIN_LABELS = 5  # of a property, in each fold
LEAST_NETWORK_ROWS = 2  # to validate a network by
MULTISCALE_HEADS = 4  # of the self-attention of the multi-scale CNN
BY_TREES, BY_GRADIENTS, BY_BLOCKS = "trees", "gradients", "blocks"
_FROM_K_AND_G = ("youngs_modulus_gpa", "debye_temperature_k")


@dataclass(frozen=True)
class ModelSpec:
    """A model.

    Parameters
    ----------
    name
        Key of the configuration.
    label
        In tables.
    short
        In figures; the label unless given.
    estimator
        ``module:Class`` of an ``Estimator``.
    accepts
        Forms of the blocks that it reads; none: it takes the features ``none``.
    settings
        Section of the configuration that it is fitted with, or those of its members; None for none.
    device
        ``gpu`` where it is trained on one if there is one.
    derived_targets
        Targets that it does not learn, since they follow exactly from its predictions of K and G
        (``rho2prop.crystals.elasticity``), where both can be learned.
    explain
        Method for the importance of each block (``rho2prop.evaluation.importance``): ``trees``, ``gradients``,
        ``blocks``; empty where it cannot be.
    members
        Models that it is made of: its files are theirs.
    is_joint
        Learns all targets at once, from every row with any label.
    width_multiple
        The last of the settings' channels must be a multiple of it.
    package
        Python package that it needs beside the requirements; empty for none.
    """

    name: str
    label: str
    estimator: str
    accepts: tuple[str, ...]
    short: str = ""
    settings: type[ModelSettings] | None = None
    device: str = "cpu"
    derived_targets: tuple[str, ...] = ()
    explain: str = BY_BLOCKS
    members: tuple[str, ...] = ()
    is_joint: bool = False
    width_multiple: int = 1
    package: str = ""

    @property
    def section(self) -> str:
        """Section of the configuration that it is fitted with; empty for none and for those of its members."""
        return self.settings.section if self.settings else ""

    @property
    def needs_gpu(self) -> bool:
        """Whether its jobs request a GPU."""
        return self.device == "gpu"

    @property
    def least_validation_labels(self) -> int:
        """Fewest labelled rows in the validation part of each fold."""
        return LEAST_NETWORK_ROWS if self.needs_gpu else 1

    def content(self, config: dict) -> dict:
        """Its section of the configuration, or those of its members by name."""
        own = config.get(self.section, {}) if self.section else {}
        return own | {MODELS[member].section: MODELS[member].content(config) for member in self.members}

    def settings_of(self, content: dict) -> ModelSettings | None:
        """Its settings from what ``content`` returns."""
        return read_section(self.settings, content, self.section or self.name) if self.settings else None

    def targets_not_learned(self, targets: list[str]) -> list[str]:
        """Derived targets that follow from other given targets."""
        follow = {"bulk_modulus_gpa", "shear_modulus_gpa"} <= set(targets)
        return [target for target in targets if follow and target in self.derived_targets]


_TABULAR = (TABLE, LATENT_PCA)
MODELS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        ModelSpec(LIGHTGBM, "LightGBM", "rho2prop.models.boosting:Boosting", _TABULAR, "LGBM", BoostingSettings,
                  explain=BY_TREES),
        ModelSpec(GAUSSIAN_PROCESS, "Gaussian process", "rho2prop.models.gaussian_process:GaussianProcesses", _TABULAR,
                  "GP", GaussianProcessSettings, derived_targets=_FROM_K_AND_G),
        ModelSpec(BLEND, "Blend", "rho2prop.models.blend:Blend", _TABULAR, "blend", BlendSettings,
                  derived_targets=_FROM_K_AND_G, members=(GAUSSIAN_PROCESS, LIGHTGBM)),
        ModelSpec("attention_cnn", "Attention CNN", "rho2prop.models.attention_cnn:AttentionCnnModel",
                  (*_TABULAR, LATENT), "CNN", CnnSettings, "gpu", explain=BY_GRADIENTS, is_joint=True),
        ModelSpec("multiscale_cnn", "Multi-scale CNN", "rho2prop.models.multiscale_cnn:MultiscaleCnnModel", (LATENT,),
                  "multi", CnnSettings, "gpu", explain="", is_joint=True, width_multiple=MULTISCALE_HEADS),
        ModelSpec("multiscale_cnn_single", "Multi-scale CNN, one for each target",
                  "rho2prop.models.multiscale_cnn:SingleTaskMultiscaleCnn", (LATENT,), "single", CnnSettings, "gpu",
                  explain="", width_multiple=MULTISCALE_HEADS),
        ModelSpec("graph_network", "Graph network", "rho2prop.models.graph_network:GraphNetworkModel", (GRAPH,), "GNN",
                  GraphNetworkSettings, "gpu", explain="", is_joint=True, package="alignn"),
        ModelSpec(MEAN, "Mean", "rho2prop.models.mean:Mean", (), "mean", explain=""),
    )
}  # fmt: skip
assert all(set(spec.derived_targets) <= set(TARGETS) for spec in MODELS.values())


def is_derived(model: str) -> bool:
    """Whether predictions were calculated from those of K and G."""
    return model.endswith(FROM_KG)


def model_label(model: str, is_short: bool = False) -> str:
    """Label of a model, also of ``<model>_from_kg``."""
    if is_derived(model):
        return f"{model_label(model.removesuffix(FROM_KG), is_short)} (from K, G)"
    spec = MODELS.get(model)
    return model if spec is None else spec.short or spec.label if is_short else spec.label


def models_that_need_gpu(needed: bool) -> list[str]:
    """Names of the models that are trained on a GPU, or of the others."""
    return [name for name, spec in MODELS.items() if spec.needs_gpu == needed]


def check(model: str, features: str, blocks: tuple[str, ...], place: str = "evaluation.regressions") -> None:
    """Raise InputError if a model cannot read a feature set.

    Parameters
    ----------
    model
        Name of the model.
    features
        Name of the feature set, for messages.
    blocks
        Its blocks; none for the mean.
    place
        Key of the configuration that chose them.
    """
    if model not in MODELS:
        raise InputError(place, f"unknown model {model!r}", suggestion(model, MODELS))
    problem, accepts = f"{model} with the features {features!r}", MODELS[model].accepts
    if bool(accepts) != bool(blocks):
        fix = f"The mean takes the features {NO_FEATURES!r}, every other model at least one block"
        raise InputError(place, problem, fix)
    if list(blocks) == [COHESIVE_ENERGY]:
        fix = "Add blocks to learn from, such as magpie"
        raise InputError(place, f"{problem}: this block is the zero of atomization energies, not a feature", fix)
    wrong = [block for block in blocks if BLOCKS[block].form not in accepts]
    if wrong:
        raise InputError(place, f"{problem}: it cannot read {wrong[0]!r}", _readable(model, wrong[0]))
    if accepts == (GRAPH,) and len(blocks) > 1:
        raise InputError(place, problem, f"It takes only the block {GRAPH}")


def _readable(model: str, block: str) -> str:
    accepts = MODELS[model].accepts
    if BLOCKS[block].form == LATENT and LATENT_PCA in accepts:
        return f"Use {block}_pca, or a network"
    if accepts == (LATENT,):
        return "It reads densities only: give it latent, or that of another field such as deformation_latent"
    if accepts == (GRAPH,):
        return f"It takes only the block {GRAPH}"
    return "Choose among " + ", ".join(name for name, block in BLOCKS.items() if block.form in accepts)


def least_labels(model: str, n_folds: int, validation_fraction: float) -> int:
    """Fewest labelled materials with which a model can be trained in every random fold (other splits need more)."""
    n = max(LEAST_LABELS, n_folds)
    while not is_enough(n - math.ceil(n / n_folds), validation_fraction, MODELS[model].least_validation_labels):
        n += 1
    return n


def is_enough(n_remaining: int, validation_fraction: float, least_validation: int) -> bool:
    """Whether the materials outside a test part suffice to train and validate a model."""
    n_validation = max(1, round(validation_fraction * n_remaining))
    return n_validation >= least_validation and n_remaining - n_validation >= LEAST_TRAIN_LABELS
