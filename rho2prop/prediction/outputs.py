"""Predictions as text: table, JSON or CSV."""

import json
from collections.abc import Callable

from rho2prop.prediction.result import Prediction, Predictions


def as_table(predictions: list[Prediction]) -> str:
    """One block per material: values with intervals, distance to the training set, warnings."""
    return "\n".join(f"{prediction!r}\n" for prediction in predictions)


def as_json(predictions: list[Prediction]) -> str:
    """A list with one object per material; an infinite end of an interval is null."""
    return json.dumps(Predictions(predictions).to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_csv(predictions: list[Prediction]) -> str:
    """One row per material, model and property."""
    return Predictions(predictions).to_frame().to_csv(index=False)


WRITERS: dict[str, Callable[[list[Prediction]], str]] = {"table": as_table, "json": as_json, "csv": as_csv}
