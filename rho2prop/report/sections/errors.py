"""Section on the largest errors."""

from rho2prop.core.targets import TARGETS
from rho2prop.features.feature_sets import set_label
from rho2prop.models.registry import model_label
from rho2prop.report.blocks import Row, Section, Table, Text
from rho2prop.report.data import Run
from rho2prop.report.numbers import DASH, significant
from rho2prop.report.sections.models import split_name


def errors(run: Run) -> Section:
    """Materials with the largest errors of the selected model, and what is special about each."""
    section = Section("errors", "Largest errors")
    table = run.largest_errors
    if table is None or table.empty:
        section.blocks.append(Text("No model was tested in this run.", "missing"))
        return section
    first = table.iloc[0]
    section.blocks += [
        Text(
            f"{model_label(first['model'])} on {set_label(first['features'])}, test folds of the split "
            f"{split_name(run.main_split)}. Remarks follow fixed rules. Bonding: connectivity of the crystal. A label "
            "is called suspect where at least three good models agree with each other but not with it, or where it "
            "contradicts the other labels. No material was removed because of a remark."
        ),
        Table(
            "Largest absolute errors for each property.",
            ("property", "material", "formula", "label", "predicted", "error", "remarks"),
            tuple(
                Row(
                    (
                        f"{TARGETS[row.target].symbol} / {TARGETS[row.target].unit}",
                        row.material_id,
                        row.formula,
                        significant(row.y_true),
                        significant(row.y_pred),
                        significant(row.error),
                        row.remarks or DASH,
                    )
                )
                for row in table.itertuples()
            ),
            n_text=3,
        ),
    ]
    return section
