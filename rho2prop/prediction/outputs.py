"""Predictions as text: a table for people, JSON and CSV for programs."""

import json
import math
from collections.abc import Callable

import pandas as pd

from rho2prop.core.targets import TARGETS
from rho2prop.crystals.elasticity import BULK, SHEAR, poisson_ratio
from rho2prop.features.description import NO_DENSITY, NO_DENSITY_NAME
from rho2prop.prediction.bundle.reader import COLUMNS, Prediction


def as_table(predictions: list[Prediction]) -> str:
    """One block per material: values with intervals, distance to the training set, warnings."""
    return "\n".join(map(_block, predictions))


def as_json(predictions: list[Prediction]) -> str:
    """A list with one object per material; an infinite end of an interval is null."""
    content = [
        {
            "name": one.name,
            "formula": one.formula,
            "predictions": [
                {key: _finite(value) for key, value in row.items() if key not in ("name", "formula")}
                for row in one.table.to_dict("records")
            ],
            "poisson_ratio": _poisson_ratios(one.table),
            "applicability": {
                "percentile": one.applicability.percentile,
                "is_far": one.applicability.is_far,
                "nearest": [
                    {"material_id": name, "formula": formula, "distance": distance}
                    for name, formula, distance in one.applicability.nearest
                ],
                "text": one.applicability.text,
            },
            "warnings": one.warnings,
        }
        for one in predictions
    ]
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_csv(predictions: list[Prediction]) -> str:
    """One row per material, model and property."""
    frames = [
        one.table.assign(
            applicability_percentile=one.applicability.percentile,
            is_far=one.applicability.is_far,
            warnings="; ".join(one.warnings),
        )
        for one in predictions
    ]
    empty = pd.DataFrame(columns=[*COLUMNS, "applicability_percentile", "is_far", "warnings"])
    return (pd.concat(frames) if frames else empty).to_csv(index=False)


WRITERS: dict[str, Callable[[list[Prediction]], str]] = {"table": as_table, "json": as_json, "csv": as_csv}


def _block(one: Prediction) -> str:
    share = f"{100 * one.table['coverage'].iloc[0]:g} % interval"
    lines = [f"{one.name}  ({one.formula})", f"  {'':24}{'value':>9}  {share:<19}  {'unit':8}  model"]
    for row in one.table.itertuples():
        target = TARGETS[row.target]
        interval = f"{_short(row.lower)} … {_short(row.upper)}"
        label = f"{target.symbol}, {target.name}"
        lines.append(
            f"  {label:24}{_short(row.value):>9}  {interval:<19}  {row.unit:8}  {_named(row.model, row.features)}"
        )
    for model, value in _poisson_ratios(one.table, _named).items():
        lines.append(f"  {'ν, Poisson’s ratio':24}{_short(value):>9}  {'':19}  {'':8}  {model}, from its K and G")
    mark = "! " if one.applicability.is_far else "  "
    lines.append(f"{mark}training set: {one.applicability.text}")
    lines += [f"! {warning}" for warning in one.warnings]
    return "\n".join(lines) + "\n"


def _named(model: str, features: str) -> str:
    return f"{model} ({features.replace(NO_DENSITY, NO_DENSITY_NAME)})"


def _poisson_ratios(table: pd.DataFrame, named: Callable[[str, str], str] = "{} ({})".format) -> dict[str, float]:
    """Of each model and feature set that predict K and G above zero, which bounds it to between −1 and ½."""
    values = table.pivot(index=["model", "features"], columns="target", values="value")
    if not {BULK, SHEAR} <= set(values):
        return {}
    stable = values[(values[BULK] > 0) & (values[SHEAR] > 0)]
    ratios = poisson_ratio(stable[BULK], stable[SHEAR])
    names = (named(model, features) for model, features in stable.index)
    return {name: float(ratio) for name, ratio in zip(names, ratios, strict=True)}


def _short(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else ("∞" if value > 0 else "-∞")


def _finite(value):
    return None if isinstance(value, float) and not math.isfinite(value) else value
