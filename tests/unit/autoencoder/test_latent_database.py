import json
import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
from standins.refusals import refused

from rho2prop.autoencoder.latent_database import LatentDatabase
from rho2prop.autoencoder.latent_record import make_record
from rho2prop.densities.grids import Grid

pytestmark = pytest.mark.slow  # torch

GRID = Grid("window", 32, 0.15)
CRYSTALS = {
    "mp-1": (12, 8), "mp-2": (12, 8, 12, 8), "mp-20": (14,), "mp-3": (12, 14), "mp-4": (3, 12, 8), "mp_5": (26, 26, 8)
}  # fmt: skip


def record(density, name, numbers=(12, 8), seed=0, size=4):
    latent = np.random.default_rng(seed).normal(size=(16, size, size, size)).astype(np.float32)
    coords = np.linspace(0, 0.9, 3 * len(numbers)).reshape(-1, 3)
    crystal = replace(density, numbers=np.array(numbers), frac_coords=coords)
    return make_record(name, crystal, latent, GRID, "ab" * 32)


@pytest.fixture
def path(density, tmp_path):
    path = tmp_path / "latents.sqlite"
    with LatentDatabase(path, writable=True) as database:
        database.append(record(density, name, numbers, n) for n, (name, numbers) in enumerate(CRYSTALS.items()))
    return path


def test_a_record_comes_back_bit_by_bit(density, path):
    expected = asdict(record(density, "mp-2", CRYSTALS["mp-2"], seed=1))
    with LatentDatabase(path) as database:
        found = asdict(database.get("mp-2"))
    assert set(found) == set(expected)
    for name, value in expected.items():
        if isinstance(value, np.ndarray):
            assert found[name].dtype == value.dtype
            np.testing.assert_array_equal(found[name], value)
        else:
            assert found[name] == value
    assert found["formula"] == "MgO"
    assert found["shape"] == (20, 24, 27)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mp-2", ["mp-2", "mp-20"]),  # the id first, then what holds it
        ("MP-2", ["mp-2", "mp-20"]),
        ("MgO", ["mp-1", "mp-2"]),
        ("Mg4O4", ["mp-1", "mp-2"]),
        ("mgo", ["mp-1", "mp-2"]),
        ("Mg-O", ["mp-1", "mp-2"]),
        ("O-Mg", ["mp-1", "mp-2"]),
        ("O Mg", ["mp-4", "mp-1", "mp-2"]),
        ("Mg, Si", ["mp-3"]),
        ("Si", ["mp-20", "mp-3"]),
        ("O2Fe4", ["mp_5"]),
        ("_", ["mp_5"]),  # not SQL's any character
        ("%", []),
        ("Xx9", []),
        ("'; DROP TABLE materials; --", []),
    ],
)
def test_search_by_id_formula_and_elements(path, text, expected):
    with LatentDatabase(path) as database:
        assert [entry.material_id for entry in database.search(text)] == expected
        assert len(database) == 6


def test_search_keeps_to_its_limit_and_shows_all_for_no_text(path):
    with LatentDatabase(path) as database:
        assert {entry.material_id for entry in database.search(" ")} == set(CRYSTALS)
        assert [entry.material_id for entry in database.search("mp-2", limit=1)] == ["mp-2"]
        assert len(database.search("", limit=4)) == 4
        entry = database.search("Fe2O")[0]
        assert (entry.formula, entry.chemical_system) == ("Fe2O", "Fe-O")
        with refused(200, 201):
            database.search("M" * 201)


def test_append_adds_and_replaces(density, path):
    changed = record(density, "mp-1", (8,), seed=77)
    with LatentDatabase(path, writable=True) as database:
        assert database.append([changed, record(density, "mp-9")]) == 2
        database.remove(["mp-3", "unknown"])
    with LatentDatabase(path) as database:
        assert database.material_ids() == ["mp-1", "mp-2", "mp-20", "mp-4", "mp-9", "mp_5"]
        np.testing.assert_array_equal(database.get("mp-1").latent, changed.latent)
        assert "mp-9" in database
        assert "mp-3" not in database


def test_an_append_that_fails_changes_nothing(density, path):
    def records():
        yield record(density, "mp-8")
        raise ZeroDivisionError

    with LatentDatabase(path, writable=True) as database:
        with pytest.raises(ZeroDivisionError):
            database.append(records())
        assert "mp-8" not in database


def test_a_killed_writer_leaves_the_database_as_it_was(path):
    """The writer is killed inside its transaction, after pages went to the file."""
    script = (
        "import os, signal, sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1]); c.execute('PRAGMA cache_size = 2')\n"
        "c.execute('DELETE FROM materials')\n"
        "c.execute('CREATE TABLE filler (x)')\n"
        "c.execute('INSERT INTO filler VALUES (zeroblob(200000))')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(path)])
    assert killed.returncode == -signal.SIGKILL
    assert os.path.exists(f"{path}-journal")
    with LatentDatabase(path, writable=True) as database:
        assert set(database.material_ids()) == set(CRYSTALS)
        assert database.get("mp-3").latent.shape == (16, 4, 4, 4)


def test_it_is_read_without_this_package(density, path):
    """With sqlite3 and NumPy alone, as the module's docstring says."""
    connection = sqlite3.connect(path)
    query = "SELECT latent, channels, latent_size, lattice, numbers, nx FROM materials WHERE material_id = ?"
    blob, c, s, lattice, numbers, nx = connection.execute(query, ["mp-3"]).fetchone()
    expected = record(density, "mp-3", CRYSTALS["mp-3"], seed=3)
    np.testing.assert_array_equal(np.frombuffer(blob, "<f2").reshape(c, s, s, s), expected.latent)
    np.testing.assert_array_equal(json.loads(lattice), density.lattice)
    assert (json.loads(numbers), nx) == ([12, 14], 20)
    about = dict(connection.execute("SELECT key, value FROM about"))
    assert "float16" in about["latent"]
    connection.close()


def test_a_latent_of_the_usual_size_costs_little_more_than_its_numbers(density, tmp_path):
    path = tmp_path / "latents.sqlite"
    with LatentDatabase(path, writable=True) as database:
        database.append(record(density, f"m{n}", seed=n, size=8) for n in range(60))
    assert path.stat().st_size / 60 < 1.1 * 2 * 16 * 8**3


def test_reading_does_not_write(density, path):
    with LatentDatabase(path) as database, refused("readonly", source="latents.sqlite"):
        database.append([record(density, "mp-8")])


def test_an_unknown_material_is_named(path):
    with LatentDatabase(path) as database, refused("'mp-77'", source="latents.sqlite"):
        database.get("mp-77")


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        ("UPDATE materials SET latent = x'0102' WHERE material_id = 'mp-1'", "row"),
        ("UPDATE materials SET lattice = '[[1, 2' WHERE material_id = 'mp-1'", "row"),
        ("UPDATE materials SET latent = 7 WHERE material_id = 'mp-1'", "row"),
        ("UPDATE materials SET numbers = '[99999999999999999999, 8]' WHERE material_id = 'mp-1'", "row"),
        ("UPDATE materials SET numbers = '[12.7, 8]' WHERE material_id = 'mp-1'", "row"),
        ("UPDATE materials SET numbers = '[12, 200]' WHERE material_id = 'mp-1'", "row"),
        (f"UPDATE materials SET numbers = '{'[' * 90_000}' WHERE material_id = 'mp-1'", "row"),
        ("UPDATE materials SET nx = 'many' WHERE material_id = 'mp-1'", "row"),
        ("UPDATE materials SET nx = 100000, ny = 100000 WHERE material_id = 'mp-1'", "row"),
        ("UPDATE materials SET nx = 1000000 WHERE material_id = 'mp-1'", "row"),
        ("UPDATE materials SET lattice = '[[1e-4,0,0],[0,9,0],[0,0,9]]' WHERE material_id = 'mp-1'", "row"),
        ("UPDATE materials SET lattice = '[[9,0,0],[8.9,0.01,0],[0,0,9]]' WHERE material_id = 'mp-1'", "row"),
        ("UPDATE materials SET lattice = '[[NaN,0,0],[0,9,0],[0,0,9]]' WHERE material_id = 'mp-1'", "row"),
        ("UPDATE materials SET n_electrons = -1 WHERE material_id = 'mp-1'", "row"),
        ("UPDATE materials SET formula = x'00ff' WHERE material_id = 'mp-1'", "row"),
        ("UPDATE materials SET latent = zeroblob(100000000) WHERE material_id = 'mp-1'", "unreadable"),
        ("PRAGMA user_version = 9", "version"),
        ("PRAGMA application_id = 0", "format"),
    ],
)
def test_damage_is_told(path, damage, code):
    connection = sqlite3.connect(path)
    connection.execute(damage)
    connection.commit()
    connection.close()
    with refused(source="latents.sqlite", code=code), LatentDatabase(path) as database:
        database.get("mp-1")


ENDLESS = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t)"


@pytest.mark.parametrize(
    "change",
    [
        f"ALTER TABLE materials RENAME TO x; CREATE VIEW materials AS {ENDLESS} SELECT x.* FROM x, t",
        f"CREATE VIEW more AS {ENDLESS} SELECT n FROM t",
        "CREATE TRIGGER t AFTER DELETE ON materials BEGIN DELETE FROM about; END",
        "ALTER TABLE materials ADD COLUMN extra AS (hex(zeroblob(400000000)))",
        "ALTER TABLE materials ADD COLUMN extra TEXT",
        "CREATE TABLE other (x)",
        "CREATE INDEX other ON materials (length(latent))",
        "DROP INDEX by_formula",
        "CREATE VIRTUAL TABLE other USING fts5(x)",
    ],
)
@pytest.mark.parametrize("writable", [False, True])
def test_a_schema_that_is_not_ours_is_refused_before_anything_of_it_is_run(path, change, writable):
    connection = sqlite3.connect(path)
    connection.executescript(change)
    connection.close()
    with refused(source="latents.sqlite", code="schema"):
        LatentDatabase(path, writable=writable)


def test_a_query_without_end_is_stopped(path):
    """Pages that lie cannot be made by SQL; any endless query stands for what they lead to."""
    with LatentDatabase(path, time_limit_s=0.05) as database:
        with refused("0.05 s", code="time"):
            database._rows(f"{ENDLESS} SELECT count(n) FROM t")
        assert len(database) == 6  # and the database is as usable as before


def test_names_that_a_stranger_made_endless_are_refused(path):
    connection = sqlite3.connect(path)
    connection.execute("UPDATE materials SET formula = printf('%.*c', 1000000, 'x') WHERE material_id = 'mp-3'")
    connection.commit()
    connection.close()
    with LatentDatabase(path) as database, refused(code="names"):
        database.search("")


def test_other_files_are_refused(tmp_path, path):
    with refused(source="nothing.sqlite"):
        LatentDatabase(tmp_path / "nothing.sqlite")
    assert not (tmp_path / "nothing.sqlite").exists()
    (tmp_path / "text.sqlite").write_text("material_id,formula\n" * 100)
    with refused(source="text.sqlite", code="unreadable"):
        LatentDatabase(tmp_path / "text.sqlite")
    (tmp_path / "cut.sqlite").write_bytes(path.read_bytes()[:3000])
    with refused(source="cut.sqlite", code="unreadable"), LatentDatabase(tmp_path / "cut.sqlite") as database:
        database.material_ids()


def test_a_latent_must_have_its_shape_and_fit_float16(density):
    with refused("(8, 4, 4, 4)", 16, source="latent of m"):
        make_record("m", density, np.zeros((8, 4, 4, 4)), GRID, "ab")
    with refused("1e+05", 65504):
        make_record("m", density, np.full((16, 4, 4, 4), 1e5), GRID, "ab")
