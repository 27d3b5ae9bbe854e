"""Plan of a run: resolved feature sets, regressions, and the files that the rules expand over.

The Snakefile asks this each time it is read, also inside every cluster job, so nothing slow is imported.
"""

from dataclasses import dataclass
from functools import cached_property

from rho2prop.core.settings import read_section
from rho2prop.densities.field_names import TOTAL
from rho2prop.evaluation.settings import (
    Choice,
    EvaluationSettings,
    IntervalSettings,
    InvarianceSettings,
    LearningCurveSettings,
    choices,
)
from rho2prop.features import feature_sets
from rho2prop.features.registry import BLOCKS, GRAPH, LATENT, LATENT_PCA, blocks_that
from rho2prop.materials.split_names import FINAL_FOLD, FINAL_SPLIT, GIVEN, GIVEN_FOLD
from rho2prop.models.registry import MODELS

REGRESSION, LEARNING = "results/regression", "results/learning"
CHUNKS = "results/chunks"  # features/<block>/<chunk>, latents/<scope>/<chunk>: parts of results/features/<block>, ...


@dataclass(frozen=True)
class Plan:
    """The parts of a configuration, which its schema accepts, that say what is fitted, and with what."""

    config: dict

    @cached_property
    def feature_sets(self) -> dict[str, tuple[str, ...]]:
        """Sets with their blocks in order; those with a problem are left out (``config_check`` names them)."""
        return feature_sets.sound(self.config[feature_sets.SECTION])

    @cached_property
    def evaluation(self) -> EvaluationSettings:
        return EvaluationSettings.of(self.config["evaluation"])

    @cached_property
    def learning_curve(self) -> LearningCurveSettings:
        return read_section(LearningCurveSettings, self.config["learning_curve"], "learning_curve")

    @cached_property
    def invariance(self) -> InvarianceSettings:
        return read_section(InvarianceSettings, self.config["invariance"], "invariance")

    @cached_property
    def intervals(self) -> IntervalSettings:
        return read_section(IntervalSettings, self.config["intervals"], "intervals")

    @cached_property
    def predict(self) -> tuple[Choice, ...]:
        return choices(self.config["predict"])

    @property
    def main_split(self) -> str:
        """The last split, which the report shows in detail."""
        return self.evaluation.splits[-1]

    def folds(self, split: str) -> list[str]:
        """Names of the folds of a split."""
        if split == FINAL_SPLIT:
            return [FINAL_FOLD]
        return [GIVEN_FOLD] if split == GIVEN else [str(fold) for fold in range(self.evaluation.n_folds)]

    def blocks(self, features: str) -> list[str]:
        """Blocks of a set in order, a param of each rule that reads it: a changed definition reruns the rule."""
        return list(self.feature_sets[features])

    def blocks_of(self, chosen: tuple[Choice, ...]) -> list[str]:
        """Sorted blocks that some of the choices read."""
        return sorted({block for choice in chosen for block in self.blocks(choice.features)})

    def settings_of(self, model: str) -> dict:
        """Section of the configuration with the settings of a model, or those of its members."""
        return MODELS[model].content(self.config)

    def latent_scopes(self, split: str, field: str = TOTAL) -> list[str]:
        """Autoencoders of a field whose latents a split uses: one for all, or one per fold."""
        prefix = "" if field == TOTAL else f"{field}-"
        if self.config["autoencoder"]["scope"] == "all" or split == FINAL_SPLIT:
            return [f"{prefix}all"]
        return [f"{prefix}{split}-{fold}" for fold in self.folds(split)]

    def feature_files(self, features: str, split: str) -> list[str]:
        """Files of the blocks that a feature set is joined from."""
        files = []
        for block in (BLOCKS[name] for name in self.blocks(features)):
            if block.form in (LATENT, LATENT_PCA):
                files += [f"results/latents/{scope}.npz" for scope in self.latent_scopes(split, block.field)]
            else:
                files.append(f"results/features/{block.name}.{'npz' if block.form == GRAPH else 'csv'}")
        return files

    def regressions(self, *splits: str) -> list[str]:
        """Folders of all regressions on some splits; on all configured ones if none is named."""
        return [
            f"{REGRESSION}/{choice.folder}/{split}"
            for choice in self.evaluation.regressions
            for split in splits or self.evaluation.splits
        ]

    def predicting(self, split: str) -> list[str]:
        """Folders of the models under ``predict`` on one split; ``all`` for the final models."""
        return [f"{REGRESSION}/{choice.folder}/{split}" for choice in self.predict]

    def importance(self) -> list[str]:
        """Importance tables of the models for which it can be computed, on sets of more than one block."""
        return [
            f"results/importance/{choice.folder}/{self.main_split}.csv"
            for choice in self.evaluation.regressions
            if len(self.blocks(choice.features)) > 1 and MODELS[choice.model].explain
        ]


def descriptor_files() -> dict[str, str]:
    """Blocks that one job computes for a chunk of materials, and their files by name."""
    return {name: f"{CHUNKS}/features/{name}/{{chunk}}.csv" for name in blocks_that(lambda block: block.is_descriptor)}


def field_blocks() -> list[str]:
    """Table blocks of a field, each computed by jobs of its own."""
    return blocks_that(lambda block: block.form == "table" and bool(block.field))
