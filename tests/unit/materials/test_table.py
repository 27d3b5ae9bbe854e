import pytest
from standins.refusals import refused

from rho2prop.core.targets import ATOMIZATION_ENERGY, FORMATION_ENERGY
from rho2prop.materials.table import (
    ElementalCrystals,
    TableError,
    element_materials,
    read_table,
    write_element_structures,
)

HEADER = "material_id,structure,density,bulk_modulus_gpa,atomization_energy_ev_per_atom\n"
FORMATION_HEADER = "material_id,structure,formation_energy_ev_per_atom\n"


def table(folder, *rows, header=HEADER):
    (folder / "a.cif").write_text("x")
    (folder / "a.npz").write_text("x")
    path = folder / "materials.csv"
    path.write_text(header + "".join(row + "\n" for row in rows))
    return path


def test_paths_are_relative_to_the_table_and_blanks_are_unknown(tmp_path):
    materials = read_table(table(tmp_path, "m-1,a.cif,,76.5,", "m-2,a.cif,a.npz,,"))
    assert materials["m-1"].labels == {"bulk_modulus_gpa": 76.5}
    assert materials["m-1"].role == "train"
    assert materials["m-1"].structure == str(tmp_path / "a.cif")
    assert materials["m-1"].density is None
    assert materials["m-2"].role == "predict"
    assert materials["m-2"].density == str(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("row", "column", "value"),
    [
        ("m 1,a.cif,,1,", "material_id", "'m 1'"),
        ("../m,a.cif,,1,", "material_id", "'../m'"),
        ("m,a.cif,,stiff,", "bulk_modulus_gpa", "'stiff'"),
        ("m,a.cif,,nan,", "bulk_modulus_gpa", "'nan'"),
        ("m,a.cif,,-3,", "bulk_modulus_gpa", "-3.0"),
        ("m,a.cif,,,8.9e6", "atomization_energy_ev_per_atom", "8900000.0"),
        ("m,a.cif,,,-3.97", "atomization_energy_ev_per_atom", "labels.formation_energy_reference"),
        ("m,a.cif,,,0", "atomization_energy_ev_per_atom", "0.0"),
        ("m,b.cif,,1,", "structure", "b.cif"),
        ("m,a.cif,b.npz,1,", "density", "b.npz"),
    ],
)
def test_a_bad_cell_is_named_by_line_column_and_value(tmp_path, row, column, value):
    path = table(tmp_path, "good,a.cif,,1,", row)
    with refused(str(path), "line 3", column, value, by=TableError):
        read_table(path)


def test_duplicate_ids_name_both_lines(tmp_path):
    with refused("line 4", "material_id", "'m'", "line 2", by=TableError):
        read_table(table(tmp_path, "m,a.cif,,1,", "n,a.cif,,1,", "m,a.cif,,2,"))


def test_all_bad_rows_are_reported_at_once(tmp_path):
    rows = [f"m{i},a.cif,,soft," for i in range(12)]
    with refused(12, 2, by=TableError):
        read_table(table(tmp_path, *rows))


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ("material_id,structure,hardness\n", ["'hardness'"]),
        ("structure\n", ["'material_id'"]),
        ("material_id,structure,structure\n", ["structure"]),
        (FORMATION_HEADER, [FORMATION_ENERGY, "labels.formation_energy_reference"]),
        (HEADER.strip() + f",{FORMATION_ENERGY}\n", [FORMATION_ENERGY, ATOMIZATION_ENERGY]),
    ],
)
def test_a_bad_header_is_named(tmp_path, header, data):
    with refused(*data):
        read_table(table(tmp_path, "m,a.cif", header=header))


def test_a_surplus_cell_and_a_missing_density_are_found(tmp_path):
    with refused("line 2", by=TableError):
        read_table(table(tmp_path, "m,a.cif,,1,,extra"))
    with refused("line 2", "density", "files", by=TableError):
        read_table(table(tmp_path, "m,a.cif,,1,"), needs_density=True)


def test_missing_and_empty_tables(tmp_path):
    with refused(source="none.csv", code="missing"):
        read_table(tmp_path / "none.csv")
    with refused(source="materials.csv", code="empty"):
        read_table(table(tmp_path))


def test_a_formation_energy_relative_to_free_atoms_changes_its_sign(tmp_path):
    path = table(tmp_path, "m,a.cif,-3.97", "n,a.cif,", header=FORMATION_HEADER)
    materials = read_table(path, formation_energy_reference="free_atoms")
    assert [material.labels for material in materials.values()] == [{ATOMIZATION_ENERGY: 3.97}, {}]


def test_a_formation_energy_relative_to_the_elements_waits_for_the_composition(tmp_path):
    path = table(tmp_path, "m,a.cif,-3.06", "n,a.cif,0", header=FORMATION_HEADER)
    materials = read_table(path, formation_energy_reference="elements")
    assert [material.labels for material in materials.values()] == [{FORMATION_ENERGY: -3.06}, {FORMATION_ENERGY: 0.0}]


@pytest.mark.parametrize(
    ("reference", "value", "other"),
    [("free_atoms", "0.2", "elements"), ("free_atoms", "0", "elements"), ("elements", "-7.5", "free_atoms")],
)
def test_a_formation_energy_of_the_other_reference_is_refused(tmp_path, reference, value, other):
    path = table(tmp_path, "m,a.cif,-3.97", f"n,a.cif,{value}", header=FORMATION_HEADER)
    with refused("line 3", FORMATION_ENERGY, other, by=TableError):
        read_table(path, formation_energy_reference=reference)


def test_an_unknown_element_to_leave_out_is_told():
    with refused("'tc'", "'Tc'", source="elements.exclude"):
        element_materials(ElementalCrystals(4, 48, magnetic=False, exclude=("tc",)))


def test_embedded_elements(tmp_path):
    materials = element_materials(ElementalCrystals(4, 48, magnetic=False, exclude=("Tc",)))
    assert 28 <= len(materials) <= 35
    assert not {"O", "Cr", "Mn", "Fe", "Co", "Ni", "Tc", "Si"} & set(materials)
    assert materials["Cu"].labels["bulk_modulus_gpa"] == pytest.approx(141.3, abs=0.1)  # WIEN2k, DeltaCodes

    from pymatgen.core import Structure

    write_element_structures(["Al", "Mg"], tmp_path)
    aluminium = Structure.from_file(tmp_path / "Al.vasp")
    assert len(aluminium) == 1
    assert aluminium.volume == pytest.approx(16.48, abs=0.01)  # Å³, WIEN2k equilibrium volume
    assert len(Structure.from_file(tmp_path / "Mg.vasp")) == 2
