"""The tables of scores in README.md: ``python benchmarks/score_table.py RUN/results/metrics_summary.csv``."""

import sys

import pandas as pd

from rho2prop.core.targets import TARGETS
from rho2prop.models.registry import is_derived
from rho2prop.report.data import with_own_answers

SPLIT = "chemical_system"
DIGITS = {"debye_temperature_k": 0, "atomization_energy_ev_per_atom": 2}
BASELINES = ("magpie", "magpie_structure")  # with LightGBM


def scores(table: pd.DataFrame) -> str:
    """MAE ± standard deviation over folds (R²): a row per feature set, below a row with the name of its model."""
    lines = ["| features | " + " | ".join(f"{target.symbol} / {target.unit}" for target in TARGETS.values()) + " |"]
    lines.append("|---" * (len(TARGETS) + 1) + "|")
    for model, of_model in table[~table["model"].map(is_derived)].groupby("model", sort=False):
        lines.append(f"|**{model}**|" + "|" * len(TARGETS))
        for features, part in of_model.groupby("features", sort=False):
            rows = part.set_index("target")
            lines.append("|".join(["", features, *(_cell(rows, target) for target in TARGETS), ""]))
    return "\n".join(lines)


def changes(table: pd.DataFrame) -> str:
    """Change of the mean MAE from MAGPIE and MAGPIE + structure with LightGBM to every other model."""
    mae = table.set_index(["model", "features", "target"])["mae_mean"]
    lines = []
    for (model, features), _ in table.groupby(["model", "features"], sort=False):
        cells = []
        for target, info in TARGETS.items():
            if (model, features, target) in mae.index:
                found = [mae[model, features, target] / mae["lightgbm", base, target] - 1 for base in BASELINES]
                cells.append(f"{info.symbol} {100 * found[0]:+.1f} % / {100 * found[1]:+.1f} %")
        lines.append(f"{model}, {features}: " + ", ".join(cells))
    return "\n".join(lines)


def _cell(rows: pd.DataFrame, target: str) -> str:
    if target not in rows.index:
        return "–"
    row, digits = rows.loc[target], DIGITS.get(target, 1)
    return f"{row.mae_mean:.{digits}f} ± {row.mae_std:.{digits}f} ({row.r2_mean:.2f})"


if __name__ == "__main__":
    summary = pd.read_csv(sys.argv[1])
    summary = with_own_answers(summary[summary["split"] == SPLIT])
    print(scores(summary), changes(summary), sep="\n\n")
