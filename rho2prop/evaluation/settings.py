"""Sections of the configuration on models and evaluation, as frozen dataclasses. Imports nothing slow."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Choice:
    """A model on a feature set."""

    model: str
    features: str

    def __str__(self) -> str:
        return f"{self.model} on {self.features}"

    @property
    def folder(self) -> str:
        """Folder below ``results/regression`` or ``results/learning``."""
        return f"{self.model}/{self.features}"


@dataclass(frozen=True)
class EvaluationSettings:
    """Section ``evaluation``; ``regressions`` in the order of the configuration."""

    splits: tuple[str, ...]
    n_folds: int
    validation_fraction: float
    regressions: tuple[Choice, ...]

    @classmethod
    def of(cls, section: dict) -> Self:
        """The settings of the section."""
        regressions = [Choice(model, name) for model, names in section["regressions"].items() for name in names]
        return cls(tuple(section["splits"]), section["n_folds"], section["validation_fraction"], tuple(regressions))


@dataclass(frozen=True)
class LearningCurveSettings:
    """Section ``learning_curve``."""

    sizes: tuple[int, ...]
    models: tuple[Choice, ...]


@dataclass(frozen=True)
class InvarianceSettings:
    """Section ``invariance``."""

    n_materials: int
    models: tuple[Choice, ...]


@dataclass(frozen=True)
class IntervalSettings:
    """Section ``intervals``."""

    coverage: float


def choices(entries: list[dict]) -> tuple[Choice, ...]:
    """Entries ``{model: ..., features: ...}`` of the configuration."""
    return tuple(Choice(**entry) for entry in entries)
