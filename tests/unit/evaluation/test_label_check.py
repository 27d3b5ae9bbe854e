"""Too few labels or groups are said before any work, with the settings that they are too few for."""

import copy
from pathlib import Path

import yaml
from pymatgen.core import Lattice, Structure
from standins.refusals import refused

from rho2prop.evaluation.label_check import formula_and_system, require_any_label, require_groups, require_labels
from rho2prop.evaluation.plan import Plan
from rho2prop.materials.table import Material

DEFAULTS = yaml.safe_load((Path(__file__).parents[3] / "config.yaml").read_text(encoding="utf-8"))
SOURCE = "table.csv"


def labelled(count: int, target: str = "bulk_modulus_gpa") -> dict[str, Material]:
    return {f"m{i}": Material(f"m{i}", f"{i}.cif", labels={target: 50.0 + i}) for i in range(count)}


def test_a_table_without_labels_is_told_what_is_missing():
    materials = {"m": Material("m", "m.cif")}
    with refused(1, "bulk_modulus_gpa", source="table.csv"):
        require_any_label(materials, SOURCE)
    both = materials | labelled(2)
    assert set(require_any_label(both, SOURCE)) == {"m0", "m1"}


def test_too_few_labels_are_told_with_count_need_and_setting():
    with refused(6, "bulk_modulus_gpa", 10, "evaluation.n_folds", 5, 4):
        require_labels(labelled(6), SOURCE, Plan(DEFAULTS))
    require_labels(labelled(10), SOURCE, Plan(DEFAULTS))
    halves = copy.deepcopy(DEFAULTS)
    halves["evaluation"]["n_folds"] = 2
    with refused(12, 10):
        require_labels(labelled(10), SOURCE, Plan(halves))


def test_labels_of_different_properties_do_not_add_up():
    mixed = labelled(6) | {f"g{i}": Material(f"g{i}", "g.cif", labels={"shear_modulus_gpa": 9.0}) for i in range(6)}
    with refused(6, "bulk_modulus_gpa", "shear_modulus_gpa"):
        require_labels(mixed, SOURCE, Plan(DEFAULTS))
    computed = copy.deepcopy(DEFAULTS)
    computed["dft"]["atomization_energy"] = "computed"  # a label of all twelve
    require_labels(mixed, SOURCE, Plan(computed))


def test_one_model_that_predicts_is_enough_and_networks_need_more():
    network = copy.deepcopy(DEFAULTS)
    network["predict"] = [{"model": "attention_cnn", "features": "magpie_latent"}]
    require_labels(labelled(12), SOURCE, Plan(DEFAULTS))
    with refused(13, "0.25"):
        require_labels(labelled(12), SOURCE, Plan(network))


def test_more_materials_to_turn_than_there_are():
    many = copy.deepcopy(DEFAULTS)
    many["invariance"]["n_materials"] = 11
    with refused(11, 10, source="invariance.n_materials"):
        require_labels(labelled(10), SOURCE, Plan(many))


def test_fewer_groups_than_folds_are_told_before_anything_runs():
    asked = []

    def group_of(structure: str) -> tuple[str, str]:
        asked.append(structure)
        return structure, "Li-O" if len(asked) < 20 else structure

    materials = labelled(18)
    require_groups(materials, SOURCE, ["random", "formula"], 5, lambda structure: (structure, structure))
    with refused(1, 5, "'chemical_system'"):
        require_groups(materials, SOURCE, ["random", "chemical_system"], 5, group_of)
    with refused(1):
        require_groups(materials, SOURCE, ["random"], 5, lambda structure: (structure, "Li-O"))
    asked.clear()
    require_groups(labelled(1000), SOURCE, ["formula"], 5, lambda path: asked.append(path) or (path, path))
    assert len(asked) == 5  # no structure is read that is not needed to tell


def test_groups_come_from_the_structures_and_unreadable_ones_count_alone(tmp_path):
    Structure(Lattice.cubic(4.2), ["Na", "Cl", "Na", "Cl"], [[0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]]).to(
        str(tmp_path / "salt.cif")
    )
    (tmp_path / "bad.cif").write_text("data_bad\n")
    assert formula_and_system(str(tmp_path / "salt.cif")) == ("NaCl", "Cl-Na")
    assert formula_and_system(str(tmp_path / "bad.cif")) == (str(tmp_path / "bad.cif"),) * 2
