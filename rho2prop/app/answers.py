"""Results that a job returns to its page: plain values, so that the server need not load the code behind them."""

from dataclasses import dataclass

from rho2prop.app.view import DensityView


@dataclass(frozen=True)
class Answer:
    """Result for one density file.

    Parameters
    ----------
    name, formula
        File name and reduced formula.
    view
        To draw.
    rows
        One dictionary per model and property, as in ``Prediction.table``; empty if the models were not used.
    csv
        The same as text.
    applicability, is_far
        Distance to the training set in words, and whether it is worrying.
    warnings
        One line each.
    refusal
        Why the models were not used, although they could be if the user insists; else "".
    """

    name: str
    formula: str
    view: DensityView
    rows: list[dict]
    csv: str
    applicability: str
    is_far: bool
    warnings: list[str]
    refusal: str


@dataclass(frozen=True)
class Decoded:
    """A density decoded from the latent database."""

    material_id: str
    formula: str
    view: DensityView
    remark: str
