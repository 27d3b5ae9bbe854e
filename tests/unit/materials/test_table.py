import pytest
from standins.refusals import refused

from rho2prop.materials.table import (
    ElementalCrystals,
    TableError,
    element_materials,
    read_table,
    write_element_structures,
)

HEADER = "material_id,structure,density,bulk_modulus_gpa,formation_energy_ev_per_atom\n"


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
        ("m,a.cif,,,-8.9e6", "formation_energy_ev_per_atom", "-8900000.0"),
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
