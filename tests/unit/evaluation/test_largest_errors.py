"""The largest errors and the remarks on them."""

import json

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Lattice, Structure
from standins.crystals import face_centred_cubic
from standins.refusals import lacking

from rho2prop.core.targets import TARGETS
from rho2prop.evaluation.largest_errors import form, largest_errors

BULK, SHEAR, YOUNG = "bulk_modulus_gpa", "shear_modulus_gpa", "youngs_modulus_gpa"
ROCKSALT = face_centred_cubic(4.21, "Mg", "O")
GRAPHITE = Structure(
    Lattice.hexagonal(2.46, 6.71),
    ["C"] * 4,
    [[0, 0, 0.25], [0, 0, 0.75], [1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]],
)
SELENIUM = Structure.from_spacegroup("P3_121", Lattice.hexagonal(4.37, 4.95), ["Se"], [[0.225, 0, 1 / 3]])
NEON = face_centred_cubic(4.46, "Ne")


@pytest.mark.parametrize(
    ("structure", "expected"),
    [(ROCKSALT, ""), (GRAPHITE, "layers"), (SELENIUM, "chains"), (NEON, "molecules or atoms apart")],
)
def test_bonding_of_known_crystals(structure, expected):
    assert form(structure) == expected


@pytest.fixture
def run(tmp_path):
    """Twelve oxides and one FeO; four models that agree to 1 GPa, one of them named, one label 60 GPa off."""
    ROCKSALT.to(str(tmp_path / "MgO.vasp"), fmt="poscar")
    names = [f"m{n}" for n in range(13)]
    materials = pd.DataFrame(
        {
            "material_id": names,
            "formula": ["MgO"] * 6 + ["CaO"] * 6 + ["FeO"],
            "chemical_system": ["Mg-O"] * 6 + ["Ca-O"] * 6 + ["Fe-O"],
            "structure": str(tmp_path / "MgO.vasp"),
        }
    ).assign(**dict.fromkeys(TARGETS, np.nan))
    materials[BULK], materials[SHEAR] = 150.0, 90.0
    materials[YOUNG] = 225.0
    materials.loc[1, YOUNG] = 300.0
    rng, folders = np.random.default_rng(0), []
    for n in range(4):
        folder = tmp_path / "lightgbm" / f"f{n}" / "random"
        folder.mkdir(parents=True)
        predicted = 150 + rng.normal(0, 1, 13)
        predicted[0] += 60.0
        predicted[1] -= 4.0
        predicted[12] += 20.0 * (-1) ** n
        rows = {"fold": "0", "material_id": names, "target": BULK, "y_true": 150.0, "y_pred": predicted}
        pd.DataFrame(rows).to_csv(folder / "predictions.csv", index=False)
        young = pd.DataFrame({"fold": "0", "material_id": names, "target": YOUNG, "y_true": 225.0, "y_pred": 225.0})
        young.loc[2, "y_pred"] = 290.0
        young.to_csv(folder / "predictions_from_kg.csv", index=False)
        summary = {"model": "lightgbm", "features": f"f{n}", "blocks": [], "split": "random", "targets": [BULK]}
        (folder / "targets.json").write_text(json.dumps(summary))
        folders.append(folder)
    return materials, folders


def test_the_largest_errors_are_listed_with_what_stands_out(run):
    materials, folders = run
    left_out = folders[0].parent / "left_out"  # the first choice had too few labels
    left_out.mkdir()
    (left_out / "targets.json").write_text(json.dumps({"targets": [], "blocks": []}))
    everything = largest_errors([left_out, *folders[:1]], folders, materials, n_largest=3)
    derived = everything[everything["target"] == YOUNG]  # which the model does not learn: from its K and G
    assert (derived["material_id"].iloc[0], derived["error"].iloc[0]) == ("m2", 65.0)
    table = everything[everything["target"] == BULK]
    assert table["material_id"].tolist() == ["m0", "m12", "m1"]
    assert (table["error"] == table["y_pred"] - table["y_true"]).all()
    assert table["features"].unique().tolist() == ["f0"]
    wrong, iron, inconsistent = table["remarks"]
    assert not lacking(wrong, 4, 210)
    assert not lacking(iron, "Fe", 0)
    assert lacking(iron, 4)  # there the models contradict each other
    assert not lacking(inconsistent, "300 GPa", "225 GPa")
