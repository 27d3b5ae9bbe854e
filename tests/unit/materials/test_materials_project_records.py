"""From snapshot to materials table: labels, filters, reasons."""

import gzip
import json
from dataclasses import replace

import pandas as pd
import pytest
from pymatgen.core import Structure
from standins.mp_materials import CRYSTALS, crystal, elasticity_document, summary_document
from standins.refusals import lacking, refused

from rho2prop.crystals.structures import read_structure
from rho2prop.dft.atomization_energy import cohesive_energies_ev
from rho2prop.materials.materials_project.records import Filters, write_materials_project
from rho2prop.materials.materials_project.snapshot import FORMAT, SCHEMA
from rho2prop.materials.table import read_table

FILTERS = Filters(
    elements=[],
    exclude_elements=[],
    n_elements=[1, 9],
    max_sites=40,
    max_energy_above_hull_ev_per_atom=None,
    bulk_modulus_gpa=[1.0, 1000.0],
    shear_modulus_gpa=[1.0, 1000.0],
    reuss_at_most_voigt=True,
    reject_warnings=True,
    require_labels="all",
    without_labels="leave_out",
    atomization_energy=False,
    max_materials=None,
)


def record(name, elasticity=None, summary=None):
    return {
        "material_id": name,
        "elasticity": elasticity_document(name, **(elasticity or {})),
        "summary": summary_document(name, **(summary or {})),
    }


class Written:
    """Tables made of some records with some filters."""

    def __init__(self, folder, records=None, header=None, **filters):
        records = [record(name) for name in CRYSTALS] if records is None else records
        header = {"format": FORMAT, "schema": SCHEMA, "database_version": "2026.11.1", **(header or {})}
        header |= {"fetched_utc": "2026-11-21T12:00:00+00:00", "n_materials": len(records)}
        snapshot = folder / "snapshot.jsonl.gz"
        snapshot.write_bytes(gzip.compress("\n".join(json.dumps(line) for line in [header, *records]).encode()))
        self.folder = folder / "results"
        self.table = self.folder / "materials.csv"
        paths = [self.folder / name for name in ("materials.csv", "rejected.csv", "properties.csv", "structures")]
        write_materials_project(snapshot, replace(FILTERS, **filters), *paths)
        self.materials = read_table(self.table)
        rejected = pd.read_csv(paths[1], dtype=str)
        self.rejected = dict(zip(rejected["material_id"], rejected["reason"], strict=True))
        self.properties = pd.read_csv(paths[2], index_col="material_id")


def test_every_material_of_the_snapshot_is_in_the_table_or_has_its_reason(tmp_path):
    written = Written(tmp_path, exclude_elements=["Cl"])
    assert set(written.materials) | set(written.rejected) == set(CRYSTALS)
    assert set(written.rejected) == {"mp-22862", "mp-23193"}
    assert set(written.properties.index) == set(written.materials)


def test_labels(tmp_path):
    written = Written(tmp_path)
    found = written.materials["mp-149"].labels
    k, g = CRYSTALS["mp-149"][3:5]
    assert found["bulk_modulus_gpa"] == k
    assert found["shear_modulus_gpa"] == g
    # the interface's own young_modulus (1e9 in the documents) is not taken
    assert found["youngs_modulus_gpa"] == pytest.approx(9 * k * g / (3 * k + g))
    assert found["debye_temperature_k"] == pytest.approx(50 * g**0.5, abs=1e-3)
    assert "atomization_energy_ev_per_atom" not in found


def test_structures_are_those_of_the_snapshot(tmp_path):
    written = Written(tmp_path)
    for name, material in written.materials.items():
        assert material.structure.startswith(str(written.folder))
        found, expected = read_structure(material.structure), crystal(name)
        assert found.composition == expected.composition
        assert found.lattice.matrix == pytest.approx(expected.lattice.matrix, abs=1e-9)
        assert found.frac_coords == pytest.approx(expected.frac_coords, abs=1e-9)
    assert "structures/mp-149.vasp" in written.table.read_text()
    assert str(tmp_path) not in written.table.read_text()


def test_atomization_energy_agrees_with_the_paper(tmp_path):
    # labels of the paper's authors, computed with PBE and free atoms, in eV/atom
    paper = {"mp-22862": 3.172, "mp-1265": 5.193, "mp-1138": 4.460, "mp-2605": 5.651, "mp-2534": 3.195}
    materials = Written(tmp_path, atomization_energy=True).materials
    for name, expected in paper.items():
        assert materials[name].labels["atomization_energy_ev_per_atom"] == pytest.approx(expected, abs=0.25), name


def test_atomization_energy_needs_the_cohesive_energy_of_each_element(tmp_path):
    astatide = crystal("mp-23193").copy()
    astatide.replace_species({"Cl": "At"})
    records = [record("mp-23193", summary={"structure": astatide.as_dict()}), record("mp-149")]
    materials = Written(tmp_path, records, atomization_energy=True).materials
    assert "atomization_energy_ev_per_atom" not in materials["mp-23193"].labels
    assert materials["mp-149"].labels["atomization_energy_ev_per_atom"] == pytest.approx(cohesive_energies_ev()["Si"])


def test_the_value_relative_to_the_elements_stays_beside_the_table(tmp_path):
    written = Written(tmp_path, atomization_energy=True)
    assert written.properties.loc["mp-1265", "formation_energy_from_elements_ev_per_atom"] == -3.06
    assert "-3.06" not in written.table.read_text()


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        ({"elements": ["Na", "Cl", "K", "Si"]}, {"mp-22862", "mp-149", "mp-23193"}),
        ({"n_elements": [1, 1]}, {"mp-149", "mp-66", "mp-134", "mp-30"}),
        ({"max_sites": 1}, {"mp-134", "mp-30"}),
        ({"bulk_modulus_gpa": [77.0, 89.0]}, {"mp-134", "mp-149"}),
        ({"shear_modulus_gpa": [100, 1000]}, {"mp-1265", "mp-66"}),
    ],
)
def test_filters(tmp_path, filters, kept):
    written = Written(tmp_path, **filters)
    assert set(written.materials) == kept
    assert set(written.rejected) == set(CRYSTALS) - kept


def test_an_unknown_hull_distance_does_not_pass_a_limit(tmp_path):
    distances = {"mp-149": 0.0, "mp-66": 0.136, "mp-134": None}
    records = [record(name, summary={"energy_above_hull": value}) for name, value in distances.items()]
    written = Written(tmp_path, records, max_energy_above_hull_ev_per_atom=0.1)
    assert set(written.materials) == {"mp-149"}
    assert set(written.rejected) == {"mp-66", "mp-134"}
    assert not lacking(written.rejected["mp-66"], "0.136 eV/atom")


OVERLAPPING = Structure(crystal("mp-149").lattice, ["Si", "Si"], [[0, 0, 0], [0.01, 0, 0]]).as_dict()
DISORDERED = Structure(crystal("mp-134").lattice, [{"Al": 0.5, "Cu": 0.5}], [[0, 0, 0]]).as_dict()


@pytest.mark.parametrize(
    ("elasticity", "summary", "data"),
    [
        (
            {"shear_modulus": {"voigt": 2e7, "reuss": 3.0, "vrh": 1e7}},
            {},
            ["shear_modulus", "1e+07", 1000],
        ),
        ({"bulk_modulus": {"voigt": 80, "reuss": 95, "vrh": 87.5}}, {}, ["Reuss", "Voigt", "bulk_modulus", 95, 80]),
        ({"bulk_modulus": None}, {}, ["bulk_modulus_gpa", "youngs_modulus_gpa"]),
        ({"debye_temperature": None}, {}, ["debye_temperature_k"]),
        ({"debye_temperature": 9e5}, {}, ["debye_temperature_k"]),
        ({"warnings": ["Elastic tensor has a negative eigenvalue."]}, {}, ["eigenvalue"]),
        ({"state": "failed"}, {}, ["elastic"]),
        ({}, {"deprecated": True}, ["deprecated"]),
        ({}, {"structure": OVERLAPPING}, ["Si1", "Si2"]),
        ({}, {"structure": DISORDERED}, ["Al:0.5"]),
        ({}, {"structure": None}, ["structure"]),
        ({}, {"structure": {"lattice": {}, "sites": [{"species": [{"element": "Si", "occu": 1}]}]}}, []),
    ],
)
def test_bad_rows_are_left_out_with_their_reason(tmp_path, elasticity, summary, data):
    written = Written(tmp_path, [record("mp-149", elasticity, summary), record("mp-66")])
    assert set(written.materials) == {"mp-66"}
    assert not lacking(written.rejected["mp-149"], *data)
    assert not (written.folder / "structures" / "mp-149.vasp").exists()


WRONG = [None, True, -1, 10**400, float("nan"), "", "x", [], [None], {}, {"x": [1]}]


def damaged_documents(document, path=()):
    """Copies of a document: each value, at any depth, missing or of each of the wrong kinds."""
    items = list(document.items() if isinstance(document, dict) else enumerate(document))
    for key, value in items:
        for replacement in [KeyError, *WRONG]:
            copy = document.copy()
            if replacement is not KeyError:
                copy[key] = replacement
            elif isinstance(copy, dict):
                del copy[key]
            else:
                continue
            yield (*path, key), copy
        if isinstance(value, dict | list):
            for place, changed in damaged_documents(value, (*path, key)):
                copy = document.copy()
                copy[key] = changed
                yield place, copy


@pytest.mark.slow
def test_a_value_that_is_missing_or_of_another_kind_costs_one_row_at_most(tmp_path):
    sound = record("mp-149")
    damaged = [copy for place, copy in damaged_documents(sound) if place != ("material_id",)]
    damaged = [copy | {"material_id": f"mp-{10_000 + i}"} for i, copy in enumerate(damaged)]
    written = Written(tmp_path, [*damaged, sound], atomization_energy=True)
    names = {copy["material_id"] for copy in damaged}
    assert len(names) > 400
    assert set(written.materials) | set(written.rejected) == names | {"mp-149"}
    assert not set(written.materials) & set(written.rejected)
    expected = written.materials["mp-149"]
    for name, material in written.materials.items():  # what is in the table is as sound as the sound one
        assert read_structure(material.structure).composition.reduced_formula == "Si"
        assert material.labels["bulk_modulus_gpa"] == expected.labels["bulk_modulus_gpa"], name


def test_lines_that_are_no_material_are_left_out_with_line_and_reason(tmp_path):
    sound = [json.dumps(record(name)).encode() for name in ("mp-149", "mp-66", "mp-134")]
    lines = [
        sound[0],
        sound[1][:200],  # cut
        sound[1]
        .replace(b"Carbon", b"")
        .replace(b'"formula_pretty": "C"', b'"formula_pretty": "\xff\xfe"'),  # not UTF-8
        b"[1, 2]",
        b"null",
        b"[" * 100_000,
        json.dumps(record("mp-66") | {"material_id": "../../escape"}).encode(),
        json.dumps(record("mp-66") | {"material_id": 66}).encode(),
        json.dumps(record("mp-66") | {"summary": "x"}).encode(),  # mp-66 by name: the first line of an id counts
        sound[2],
        sound[0],
    ]
    header = {"format": FORMAT, "schema": SCHEMA, "database_version": "2026.11.1", "n_materials": len(lines)}
    header |= {"fetched_utc": "2026-11-21T12:00:00+00:00"}
    snapshot = tmp_path / "snapshot.jsonl.gz"
    snapshot.write_bytes(gzip.compress(b"\n".join([json.dumps(header).encode(), *lines, b""])))
    paths = [tmp_path / name for name in ("materials.csv", "rejected.csv", "properties.csv", "structures")]
    for most in (None, 2):
        write_materials_project(snapshot, replace(FILTERS, max_materials=most), *paths)
        assert set(read_table(paths[0])) == {"mp-149", "mp-134"}
        rejected = pd.read_csv(paths[1], dtype=str)
        assert list(rejected["material_id"]) == [*(f"line {n}" for n in range(3, 10)), "mp-66", "mp-149"]
        assert not lacking(rejected["reason"].iloc[-1], "line 2")
        assert sorted(path.name for path in tmp_path.rglob("*.vasp")) == ["mp-134.vasp", "mp-149.vasp"]


def test_a_species_with_a_charge_in_its_name_costs_its_row_only(tmp_path):
    """As in the interface's older documents: 'Fe2+' is no element."""
    structure = crystal("mp-1265").as_dict()
    structure["sites"][0]["species"][0]["element"] = "Mg2+"
    records = [record("mp-1265", summary={"structure": structure}), record("mp-66")]
    for atomization_energy in (False, True):
        written = Written(tmp_path, records, atomization_energy=atomization_energy)
        assert set(written.materials) == {"mp-66"}
        assert "Mg2+" in written.rejected["mp-1265"]


def test_materials_of_one_answer_only_are_left_out(tmp_path):
    records = [record("mp-149") | {"elasticity": None}, record("mp-134") | {"summary": None}, record("mp-66")]
    written = Written(tmp_path, records)
    assert set(written.materials) == {"mp-66"}
    assert not lacking(written.rejected["mp-149"], "elasticity")
    assert not lacking(written.rejected["mp-134"], "summary")


def test_rounding_of_the_averages_is_no_inversion(tmp_path):
    averages = {"voigt": 89.0, "reuss": 89.001, "vrh": 89.0}
    assert set(Written(tmp_path, [record("mp-149", {"bulk_modulus": averages})]).materials) == {"mp-149"}


def test_hygiene_can_be_relaxed(tmp_path):
    records = [
        record("mp-149", {"warnings": ["flagged"]}),
        record("mp-134", {"bulk_modulus": {"voigt": 70, "reuss": 80, "vrh": 75}}),
        record("mp-66", {"debye_temperature": None}),
    ]
    written = Written(tmp_path, records, reject_warnings=False, reuss_at_most_voigt=False, require_labels="any")
    assert set(written.materials) == {"mp-149", "mp-134", "mp-66"}
    assert set(written.materials["mp-66"].labels) == {"bulk_modulus_gpa", "shear_modulus_gpa", "youngs_modulus_gpa"}


def test_materials_without_a_usable_tensor_are_rows_to_predict(tmp_path):
    records = [
        record("mp-149"),
        record("mp-134", {"warnings": ["flagged"]}),  # its label is left out, not the material
        {**record("mp-66"), "elasticity": None},
        {**record("mp-30"), "elasticity": None},
        {**record("mp-1265"), "elasticity": None, "summary": None},
    ]
    written = Written(tmp_path, records, without_labels="predict", exclude_elements=["Cu"], atomization_energy=True)
    assert {name: bool(material.labels) for name, material in written.materials.items()} == {
        "mp-149": True,
        "mp-134": False,
        "mp-66": False,
    }
    assert set(written.rejected) == {"mp-30", "mp-1265"}
    assert set(written.properties.index) == set(written.materials)
    assert read_structure(written.materials["mp-66"].structure) == crystal("mp-66")


def test_a_snapshot_without_the_others_cannot_predict_them(tmp_path):
    queries = [{"route": "summary", "filters": {"has_props": "elasticity", "deprecated": False}}]
    with refused(code="only_tensors"):
        Written(tmp_path, header={"queries": queries}, without_labels="predict")
    assert set(Written(tmp_path, header={"queries": queries}).materials) == set(CRYSTALS)


def test_a_larger_sample_contains_the_smaller_one(tmp_path):
    samples = []
    for number in (3, 6):
        folder = tmp_path / str(number)
        folder.mkdir()
        written = Written(folder, max_materials=number)
        samples.append(set(written.materials))
        assert len(samples[-1]) == number
        assert set(written.rejected) == set(CRYSTALS) - samples[-1]
    assert samples[0] < samples[1]


def test_nothing_left_stops_with_the_most_frequent_reasons(tmp_path):
    with refused(10, code="no_materials"):
        Written(tmp_path, elements=["Xe"])
    assert not (tmp_path / "results" / "materials.csv").exists()
    assert not (tmp_path / "results" / "structures").exists()


def test_a_filter_must_name_elements(tmp_path):
    with refused("'Xx'", source="materials_project.exclude_elements"):
        Written(tmp_path, exclude_elements=["Xx"])
