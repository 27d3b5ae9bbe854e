"""Jobs get the materials that the submitting process checked, or read the table themselves."""

import pytest
from standins.tables import write_table

from rho2prop.core.jobs.table_digest import table_digest
from rho2prop.materials.table import read_table
from rho2prop.materials.table_record import RECORD, read_table_record, write_table_record


@pytest.fixture
def recorded(tmp_path):
    table = write_table(tmp_path, 20)
    materials, key = read_table(table), [table_digest(table), False, None]
    write_table_record(materials, key, tmp_path)
    return table, materials, key


def test_the_record_is_what_reading_the_table_gives(recorded, tmp_path):
    _, materials, key = recorded
    found = read_table_record(key, tmp_path)
    assert found == materials
    assert list(found) == list(materials)
    assert found["m-3"].labels == {"bulk_modulus_gpa": 53.0}


def test_a_table_that_changed_or_other_settings_are_not_taken_from_the_record(recorded, tmp_path):
    table, _, key = recorded
    table.write_text(table.read_text().replace("53", "54"))
    assert read_table_record([table_digest(table), *key[1:]], tmp_path) is None
    assert read_table_record([key[0], True, None], tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"{}", b"[1, 2]", b'{"key": 1, "materials', b"\xff"])
def test_a_damaged_record_is_no_record(recorded, tmp_path, content):
    _, _, key = recorded
    (tmp_path / RECORD).write_bytes(content)
    assert read_table_record(key, tmp_path) is None
    (tmp_path / RECORD).unlink()
    assert read_table_record(key, tmp_path) is None
