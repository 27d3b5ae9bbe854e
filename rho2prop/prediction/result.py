"""Predictions of one material, and how they print: in a terminal, in a notebook, as a table or a dictionary."""

import html
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from rho2prop.core.targets import TARGETS
from rho2prop.crystals.elasticity import BULK, SHEAR, poisson_ratio
from rho2prop.prediction.applicability import Applicability

COLUMNS = [
    "name",
    "formula",
    "target",
    "symbol",
    "unit",
    "model",
    "features",
    "value",
    "lower",
    "upper",
    "coverage",
]


@dataclass(frozen=True)
class Property:
    """Predicted value of one property with its prediction interval.

    Parameters
    ----------
    target
        Name of the property with its unit, for example ``bulk_modulus_gpa``.
    value, lower, upper
        Prediction and ends of its interval, in ``unit``; an end may be infinite.
    unit
        Unit of the three.
    coverage
        Probability with which the interval is expected to contain the true value.
    model, features
        Which model on which features.
    """

    target: str
    value: float
    lower: float
    upper: float
    unit: str
    coverage: float
    model: str
    features: str

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return f"{_short(self.value)} {self.unit} ({_interval(self.lower, self.upper)})"


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(Mapping[str, Property]):
    """Predictions of one material: a mapping from properties to values, intervals and units.

    ``prediction["bulk_modulus_gpa"]``, ``prediction["K"]`` and ``prediction.bulk_modulus_gpa`` are the same
    ``Property``, that of the selected model: the first of the bundle's models that predicts it. All models are in
    ``table``.

    Parameters
    ----------
    name, formula
        As given, and reduced.
    table
        One row per model and property: ``value, lower, upper`` in ``unit``, the true value expected inside with
        probability ``coverage``. Models ``<model>_from_kg``: E and Θ that follow from the predicted K and G.
    applicability
        Distance to the training set.
    warnings
        What else speaks against trusting the values, one line each.
    """

    name: str
    formula: str
    table: pd.DataFrame
    applicability: Applicability
    warnings: list[str]

    def __getitem__(self, key: str) -> Property:
        rows = self.table[(self.table["target"] == key) | (self.table["symbol"] == key)]
        if rows.empty:
            raise KeyError(f"{key!r} is not predicted for {self.name}; there is {', '.join(self)}")
        row = rows.iloc[0]
        numbers: dict[str, Any] = {column: float(row[column]) for column in ("value", "lower", "upper", "coverage")}
        texts = {column: row[column] for column in ("target", "unit", "model", "features")}
        return Property(**texts, **numbers)

    def __iter__(self) -> Iterator[str]:
        return iter(self.table["target"].unique())

    def __len__(self) -> int:
        return self.table["target"].nunique()

    def __getattr__(self, name: str) -> Property:
        if name not in TARGETS:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(error.args[0]) from None

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self]

    def __repr__(self) -> str:
        return "\n".join([f"{self.name}  ({self.formula})", *_table_lines(self.table), *self._remarks()])

    def _repr_html_(self) -> str:
        shown = self.table[["symbol", "value", "lower", "upper", "unit", "model", "features"]]
        remarks = "".join(f"<div>{html.escape(line.strip())}</div>" for line in self._remarks())
        title = f"<div><b>{html.escape(self.name)}</b> ({html.escape(self.formula)})</div>"
        return title + shown.to_html(index=False, border=0, float_format=_short) + remarks

    def to_frame(self) -> pd.DataFrame:
        """All predictions, one row per model and property, with applicability and warnings as columns.

        Returns
        -------
        pandas.DataFrame
            Columns as in the CSV output of ``rho2prop predict``: ``name, formula, target, symbol, unit, model,
            features, value, lower, upper, coverage, applicability_percentile, is_far, warnings``.
        """
        return self.table.assign(
            applicability_percentile=self.applicability.percentile,
            is_far=self.applicability.is_far,
            warnings="; ".join(self.warnings),
        )

    def to_dict(self) -> dict:
        """All predictions as plain values for JSON; an infinite bound of an interval is None."""
        return {
            "name": self.name,
            "formula": self.formula,
            "predictions": [
                {key: _finite(value) for key, value in row.items() if key not in ("name", "formula")}
                for row in self.table.to_dict("records")
            ],
            "poisson_ratio": _poisson_ratios(self.table),
            "applicability": {
                "percentile": self.applicability.percentile,
                "is_far": self.applicability.is_far,
                "nearest": [
                    {"material_id": name, "formula": formula, "distance": distance}
                    for name, formula, distance in self.applicability.nearest
                ],
                "text": self.applicability.text,
            },
            "warnings": self.warnings,
        }

    def _remarks(self) -> list[str]:
        """Applicability and warnings, one line each, marked where the predictions need care."""
        mark = "! " if self.applicability.is_far else "  "
        return [f"{mark}training set: {self.applicability.text}", *(f"! {warning}" for warning in self.warnings)]


class Predictions(tuple[Prediction, ...]):
    """Predictions of several materials, in the order in which they were given."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "\n\n".join(map(repr, self))

    def _repr_html_(self) -> str:
        return "<br>".join(prediction._repr_html_() for prediction in self)

    def to_frame(self) -> pd.DataFrame:
        """Concatenated ``Prediction.to_frame`` of all materials."""
        empty = pd.DataFrame(columns=[*COLUMNS, "applicability_percentile", "is_far", "warnings"])
        return pd.concat([prediction.to_frame() for prediction in self], ignore_index=True) if self else empty

    def to_dict(self) -> list[dict]:
        """``Prediction.to_dict`` of each."""
        return [prediction.to_dict() for prediction in self]


def _table_lines(table: pd.DataFrame) -> Iterator[str]:
    share = f"{100 * table['coverage'].iloc[0]:g} % interval"
    yield f"  {'':24}{'value':>9}  {share:<19}  {'unit':8}  model"
    for row in table.itertuples():
        label = f"{row.symbol}, {TARGETS[row.target].name}"
        interval, model = _interval(row.lower, row.upper), _named(row.model, row.features)
        yield f"  {label:24}{_short(row.value):>9}  {interval:<19}  {row.unit:8}  {model}"
    for model, value in _poisson_ratios(table, _named).items():
        yield f"  {'ν, Poisson’s ratio':24}{_short(value):>9}  {'':19}  {'':8}  {model}, from K and G"


def _named(model: str, features: str) -> str:
    return f"{model} ({features})"


def _poisson_ratios(table: pd.DataFrame, named: Callable[[str, str], str] = "{} ({})".format) -> dict[str, float]:
    """Poisson's ratio of each model and feature set with positive K and G, which keeps it between −1 and ½."""
    values = table.pivot(index=["model", "features"], columns="target", values="value")
    if not {BULK, SHEAR} <= set(values):
        return {}
    stable = values[(values[BULK] > 0) & (values[SHEAR] > 0)]
    ratios = poisson_ratio(stable[BULK], stable[SHEAR])
    names = (named(model, features) for model, features in stable.index)
    return {name: float(ratio) for name, ratio in zip(names, ratios, strict=True)}


def _interval(lower: float, upper: float) -> str:
    return f"{_short(lower)} … {_short(upper)}"


def _short(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else ("∞" if value > 0 else "-∞")


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
