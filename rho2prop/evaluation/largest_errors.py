"""Largest errors on test folds, with remarks on what is special about each material."""

from pathlib import Path

import numpy as np
import pandas as pd
from pymatgen.analysis.dimensionality import get_dimensionality_larsen
from pymatgen.analysis.graphs import StructureGraph
from pymatgen.core import Composition, Structure
from pymatgen.core.local_env import JmolNN

from rho2prop.crystals.elasticity import BULK, SHEAR, YOUNG, youngs_modulus_gpa
from rho2prop.crystals.structures import read_structure
from rho2prop.evaluation.fold_results import is_trained, read_predictions, read_summary
from rho2prop.models.registry import FROM_KG

MAGNETIC = frozenset({"Cr", "Mn", "Fe", "Co", "Ni"})
FORMS = {0: "molecules or atoms apart", 1: "chains", 2: "layers"}
N_LARGEST = 8  # per target
RARE = 3  # an element in fewer other materials is called rare
GOOD = 1.5  # models with at most this multiple of the least error are asked about a label
APART = 3.0  # a label is suspect where the error is so many times the spread of these models, and their mean error
INCONSISTENT = 0.02  # relative difference of a Young's modulus from that of K and G
COLUMNS = ["target", "material_id", "formula", "model", "features", "y_true", "y_pred", "error", "remarks"]


def largest_errors(
    chosen: list[Path | str], regressions: list[Path | str], materials: pd.DataFrame, n_largest: int = N_LARGEST
) -> pd.DataFrame:
    """Table of the largest errors of one regression.

    Parameters
    ----------
    chosen
        Regression folders on a split with test folds: the errors of the first that could be trained are listed.
    regressions
        Folders of all regressions on that split: what they agree on tells a doubtful label.
    materials
        Table ``results/materials.csv``.
    n_largest
        Rows per target.

    Returns
    -------
    pandas.DataFrame
        Columns ``target, material_id, formula, model, features, y_true, y_pred, error, remarks``; remarks joined by
        ``"; "``, empty where nothing stands out.
    """
    trained = next((Path(folder) for folder in chosen if is_trained(folder)), None)
    if trained is None:
        return pd.DataFrame(columns=COLUMNS)
    summary = read_summary(trained)
    folders = dict.fromkeys([trained, *map(Path, regressions)])
    everything = {folder: _predictions(folder) for folder in folders}
    by_id, rows = materials.set_index("material_id"), []
    for target, own in everything[trained].groupby("target", sort=False):
        own = own.set_index("material_id")
        suspects = _suspect_labels(target, everything)
        largest = (own["y_pred"] - own["y_true"]).abs().sort_values(ascending=False, kind="stable").index[:n_largest]
        for name in largest:
            material = by_id.loc[name]
            remarks = [*_remarks(material, materials), *suspects.get(name, [])]
            true, predicted = own.loc[name, ["y_true", "y_pred"]]
            rows.append(
                {
                    "target": target,
                    "material_id": name,
                    "formula": material["formula"],
                    "model": summary["model"],
                    "features": summary["features"],
                    "y_true": true,
                    "y_pred": predicted,
                    "error": predicted - true,
                    "remarks": "; ".join(remarks),
                }
            )
    return pd.DataFrame(rows, columns=COLUMNS)


def _predictions(folder: Path) -> pd.DataFrame:
    """Predictions of the model itself, or those from its K and G for targets that it does not learn."""
    direct, derived = (read_predictions(folder / f"predictions{suffix}.csv") for suffix in ("", FROM_KG))
    parts = [direct, derived[~derived["target"].isin(direct["target"])]]
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)


def form(structure: Structure) -> str:
    """Connectivity of the bonds: ``layers``, ``chains``, molecules, or "" for a network.

    Source: P. M. Larsen et al., Phys. Rev. Materials 3, 034003 (2019), on bonds within the radii of Jmol.
    """
    graph = StructureGraph.from_local_env_strategy(structure, JmolNN())
    return FORMS.get(get_dimensionality_larsen(graph), "")


def _remarks(material: pd.Series, materials: pd.DataFrame) -> list[str]:
    elements = [element.symbol for element in Composition(material["formula"])]
    others = materials.loc[materials["formula"] != material["formula"], "chemical_system"].str.split("-")
    remarks = [f"magnetic element {symbol}" for symbol in elements if symbol in MAGNETIC]
    for symbol in elements if len(elements) > 1 else []:  # an element is alone of its kind anyway
        n_others = int(others.map(lambda system, wanted=symbol: wanted in system).sum())
        if n_others < RARE:
            remarks.append(f"rare element {symbol} (in {n_others} other formulas)")
    connected = form(read_structure(material["structure"]))
    if connected:
        remarks.append(connected)
    young, derived = material[YOUNG], youngs_modulus_gpa(material[BULK], material[SHEAR])
    if abs(young - derived) > INCONSISTENT * derived:  # False where a label is missing
        remarks.append(f"label suspect: E of the table {young:.0f} GPa, of its K and G {derived:.0f} GPa")
    return remarks


def _suspect_labels(target: str, everything: dict[Path, pd.DataFrame]) -> dict[str, list[str]]:
    """Labels that all good models contradict in the same way."""
    tables = [rows[rows["target"] == target].set_index("material_id") for rows in everything.values()]
    tables = [table for table in tables if len(table)]
    mean_errors = [(table["y_pred"] - table["y_true"]).abs().mean() for table in tables]
    good = [table for table, error in zip(tables, mean_errors, strict=True) if error <= GOOD * min(mean_errors)]
    if len(good) < 3:
        return {}
    true = good[0]["y_true"]
    predicted = pd.concat([table["y_pred"] for table in good], axis=1).loc[true.index]
    error = (predicted.mean(axis=1) - true).abs()
    suspect = error > APART * np.maximum(predicted.std(axis=1), min(mean_errors))
    return {
        name: [f"label suspect: {len(good)} models agree on {predicted.loc[name].mean():.3g}"]
        for name in true.index[suspect]
    }
