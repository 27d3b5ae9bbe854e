"""All latents in one SQLite file: random access, search by id or formula, appendable, readable without this package.

Format, version 1 (``PRAGMA user_version``). Table ``materials``, one row per material:

=====================  =======  =================================================================================
column                 type     content
=====================  =======  =================================================================================
material_id            TEXT     primary key
formula                TEXT     reduced formula, ``MgO``
chemical_system        TEXT     elements in alphabetical order, ``Mg-O``
n_electrons            REAL     electrons in the cell
kind, engine           TEXT     kind of density; program and version that computed it
nx, ny, nz             INTEGER  points of the native grid along the lattice vectors
lattice                TEXT     JSON, 3 × 3 numbers, Å, rows are vectors
numbers, frac_coords   TEXT     JSON, atomic numbers (n) and fractional coordinates (n × 3)
grid                   TEXT     JSON, how the density was sampled: ``kind, size, voxel_ang``
autoencoder_sha256     TEXT     which autoencoder encoded it
channels, latent_size  INTEGER  shape of the latent: (channels, latent_size, latent_size, latent_size)
latent                 BLOB     little-endian float16, C order
=====================  =======  =================================================================================

Table ``about`` (key, value) says the same in words. In Python, without this package::

    blob, c, s = sqlite3.connect(path).execute(
        "SELECT latent, channels, latent_size FROM materials WHERE material_id = ?", [name]).fetchone()
    latent = numpy.frombuffer(blob, "<f2").reshape(c, s, s, s)
"""

import json
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
from pymatgen.core import Composition, Element

from rho2prop.autoencoder.latent_record import LONGEST_TEXT, LatentRecord, check_record
from rho2prop.core.errors import InputError
from rho2prop.densities.grids import Grid

APPLICATION_ID = 0x72327064  # "r2pd": tells `file` and us whose SQLite file it is
VERSION = 1
PAGE_BYTES = 1024  # a latent of 16 kB fills its overflow pages; pages of 4 kB would waste a sixth
LONGEST_SEARCH = 200
TIME_LIMIT_S = 60.0
STEPS = 20_000  # of SQLite's machine between looks at the clock
LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: 32 << 20,  # bytes of a row
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 100_000,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 0,
}

_COLUMNS = (
    "material_id, formula, chemical_system, n_electrons, kind, engine, nx, ny, nz, lattice, numbers, frac_coords, "
    "grid, autoencoder_sha256, channels, latent_size, latent"
)
_ENTRY_COLUMNS = "material_id, formula, chemical_system"
_SCHEMA = """
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE materials (
    material_id TEXT PRIMARY KEY, formula TEXT NOT NULL, chemical_system TEXT NOT NULL, n_electrons REAL NOT NULL,
    kind TEXT NOT NULL, engine TEXT NOT NULL, nx INTEGER NOT NULL, ny INTEGER NOT NULL, nz INTEGER NOT NULL,
    lattice TEXT NOT NULL, numbers TEXT NOT NULL, frac_coords TEXT NOT NULL, grid TEXT NOT NULL,
    autoencoder_sha256 TEXT NOT NULL, channels INTEGER NOT NULL, latent_size INTEGER NOT NULL, latent BLOB NOT NULL
);
CREATE INDEX by_formula ON materials (formula, chemical_system, material_id);
"""
_ABOUT = {
    "content": "latents of electron densities, written by rho2prop; one row of the table materials per material",
    "latent": "little-endian float16, C order, shape (channels, latent_size, latent_size, latent_size); "
    "decoder output is a density in e/Å³ on the grid of the column grid",
    "lattice": "JSON, Å, rows are lattice vectors",
    "numbers": "JSON, atomic numbers",
    "frac_coords": "JSON, fractional coordinates",
    "n_electrons": "electrons in the cell; nx, ny, nz: points of the native grid",
    "grid": "JSON: window = Cartesian cube of size³ points, voxel_ang apart, point i at (i - (size - 1)/2) voxel_ang "
    "along x, y, z from the origin of the cell; padded = native grid in the corner of a cube of zeros",
    "autoencoder_sha256": "names the autoencoder: only its decoder can read the latent",
}


@dataclass(frozen=True)
class LatentEntry:
    """Entry of a search result."""

    material_id: str
    formula: str
    chemical_system: str


class LatentDatabase:
    """A file of latents; use it in a ``with`` block or call ``close``.

    The file may be from an untrusted source: nothing in its schema is run (views, triggers, generated columns make
    it another format), and whatever its pages claim, rows are bounded in size and queries in time.

    Parameters
    ----------
    path
        SQLite file.
    writable
        Read-only by default. If true, a file that does not exist is made, and ``append`` works.
    time_limit_s
        That one query may take.

    Raises
    ------
    InputError
        If the file is missing, of another format or of a newer version.
    """

    def __init__(self, path: Path | str, writable: bool = False, time_limit_s: float = TIME_LIMIT_S):
        self.path = Path(path)
        self._time_limit_s = time_limit_s
        self._deadline_s: float | None = None
        fresh = not self.path.is_file() or self.path.stat().st_size == 0
        if fresh and not writable:
            raise InputError(self.path, "there is no such latent database", "Run the rule write_latent_database")
        if fresh:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        mode = "rwc" if writable else "ro"
        with self._readable_errors():
            # The app reads in several threads: SQLite serialises the calls itself.
            self._connection = sqlite3.connect(
                f"{self.path.resolve().as_uri()}?mode={mode}", uri=True, check_same_thread=False
            )
        try:
            self._limit(writable)
            if fresh:
                self._create()
            self._check_format()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "LatentDatabase":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __len__(self) -> int:
        # count(*) would be one step of SQLite's machine, which no clock interrupts
        return self._rows("SELECT count(formula) FROM materials")[0][0]

    def __contains__(self, material_id: str) -> bool:
        return bool(self._rows("SELECT 1 FROM materials WHERE material_id = ?", [material_id]))

    def material_ids(self) -> list[str]:
        """Ids of all materials, sorted."""
        return [row[0] for row in self._rows("SELECT material_id FROM materials ORDER BY material_id")]

    def append(self, records: Iterable[LatentRecord]) -> int:
        """Add records, all or none; one whose id is already there replaces it.

        Returns
        -------
        int
            How many were added or replaced.
        """
        rows = (_to_row(record) for record in records)
        marks = ", ".join("?" * len(_COLUMNS.split(",")))
        with self._readable_errors(), self._connection:  # commits at the end, rolls back on any error
            return self._connection.executemany(
                f"INSERT OR REPLACE INTO materials ({_COLUMNS}) VALUES ({marks})", rows
            ).rowcount

    def remove(self, material_ids: Iterable[str]) -> None:
        """Delete materials; unknown ids are ignored."""
        with self._readable_errors(), self._connection:
            self._connection.executemany(
                "DELETE FROM materials WHERE material_id = ?", ([name] for name in material_ids)
            )

    def get(self, material_id: str) -> LatentRecord:
        """The record of one material.

        Raises
        ------
        InputError
            If it is not there, or its row is damaged.
        """
        rows = self._rows(f"SELECT {_COLUMNS} FROM materials WHERE material_id = ?", [material_id])
        if not rows:
            fix = "Search by formula, or add it with the rule write_latent_database"
            raise InputError(self.path, f"holds no material {material_id!r}", fix)
        try:
            record = _from_row(rows[0])
            check_record(record, f"row of {material_id!r}")
        except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError) as error:
            raise InputError(
                self.path, f"the row of {material_id!r} is damaged ({error})", "Write the database again", code="row"
            ) from error
        return record

    def search(self, text: str, limit: int = 50) -> list[LatentEntry]:
        """Search materials, best matches first.

        Parameters
        ----------
        text
            An id or a part of one; a formula in any multiple (``Mg2O2`` finds MgO); a chemical system (``Mg-O``: these
            elements and no others); elements (``Mg O`` or ``Mg, O``: at least these). Empty: all materials.
        limit
            Most materials returned.
        """
        text = text.strip()
        if len(text) > LONGEST_SEARCH:
            raise InputError(
                "search", f"{len(text)} characters", f"Search for at most {LONGEST_SEARCH} characters", code="length"
            )
        found: dict[str, LatentEntry] = {}
        for condition, values in _meanings(text):
            if len(found) >= limit:
                break
            query = f"SELECT {_ENTRY_COLUMNS} FROM materials WHERE {condition} ORDER BY formula, material_id LIMIT ?"
            # More than the limit: some may have been found by a closer meaning.
            for row in self._rows(query, [*values, limit + len(found)]):
                if not all(isinstance(text, str) and len(text) <= LONGEST_TEXT for text in row):
                    raise InputError(
                        self.path,
                        "holds names that are not texts, or too long",
                        "Write the database again",
                        code="names",
                    )
                found.setdefault(row[0], LatentEntry(*row))
        return list(found.values())[:limit]

    def _rows(self, query: str, values: list | None = None) -> list[tuple]:
        with self._readable_errors():
            self._deadline_s = time.monotonic() + self._time_limit_s
            try:
                return self._connection.execute(query, values or []).fetchall()
            except sqlite3.OperationalError as error:
                if not self._is_late():
                    raise
                problem = f"a query took longer than {self._time_limit_s:g} s and was stopped"
                raise InputError(
                    self.path, problem, "Check that it is whole, or write it again", code="time"
                ) from error
            finally:
                self._deadline_s = None

    def _is_late(self) -> bool:
        return self._deadline_s is not None and time.monotonic() > self._deadline_s

    def _limit(self, writable: bool) -> None:
        for limit, value in LIMITS.items():
            self._connection.setlimit(limit, value)
        self._connection.set_progress_handler(self._is_late, STEPS)
        self._rows("PRAGMA trusted_schema = OFF")
        self._rows("PRAGMA cell_size_check = ON")
        self._rows(f"PRAGMA query_only = {'OFF' if writable else 'ON'}")

    def _create(self) -> None:
        with self._readable_errors(), self._connection:
            self._connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            for statement in _SCHEMA.split(";"):
                self._connection.execute(statement)
            self._connection.executemany("INSERT INTO about VALUES (?, ?)", _ABOUT.items())
            self._connection.execute(f"PRAGMA user_version = {VERSION}")

    def _check_format(self) -> None:
        application, version = (self._rows(f"PRAGMA {name}")[0][0] for name in ("application_id", "user_version"))
        if application != APPLICATION_ID:
            raise InputError(
                self.path, "is not a latent database of rho2prop", "Give results/latents.sqlite of a run", code="format"
            )
        if version != VERSION:
            problem = f"has format version {version}, this program reads version {VERSION}"
            raise InputError(
                self.path, problem, "Use the version of rho2prop that wrote it, or write it again", code="version"
            )
        schema = _schema_of(self._rows(f"SELECT type, name, sql FROM sqlite_master LIMIT {2 * len(_own_schema())}"))
        if schema != _own_schema():
            other = sorted(str(name) for _, name, _ in schema ^ _own_schema())
            problem = f"has other tables, columns, views or triggers than a latent database ({', '.join(other)[:200]})"
            raise InputError(self.path, problem, "Give results/latents.sqlite of a run", code="schema")

    @contextmanager
    def _readable_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            fix = "Check that it is a latent database, that it is whole and that you may read it"
            raise InputError(self.path, f"cannot be used as a database ({error})", fix, code="unreadable") from error


def _schema_of(rows: list[tuple]) -> set[tuple]:
    """Content of ``sqlite_master``: type, name and statement of each part, with white space folded."""
    return {(kind, name, " ".join(sql.split()) if isinstance(sql, str) else sql) for kind, name, sql in rows}


@cache
def _own_schema() -> frozenset[tuple]:
    connection = sqlite3.connect(":memory:")
    connection.executescript(_SCHEMA)
    schema = _schema_of(connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall())
    connection.close()
    return frozenset(schema)


def _meanings(text: str) -> list[tuple[str, list]]:
    """SQL conditions for the meanings of a search, the closest first."""
    if not text:
        return [("1", [])]
    meanings = [("material_id = ?", [text])]
    formula = _reduced_formula(text)
    if formula:
        meanings.append(("formula = ?", [formula]))
    dashed = text.split("-")
    if len(dashed) > 1 and all(map(Element.is_valid_symbol, dashed)):
        meanings.append(("chemical_system = ?", ["-".join(sorted(dashed))]))
    elements = re.split(r"[\s,]+", text)
    if all(map(Element.is_valid_symbol, elements)):
        inside = "('-' || chemical_system || '-') GLOB ?"
        meanings.append((" AND ".join([inside] * len(elements)), [f"*-{symbol}-*" for symbol in elements]))
    escaped = re.sub(r"([\\%_])", r"\\\1", text)
    meanings.append(("formula = ? COLLATE NOCASE", [text]))
    meanings.append(("material_id LIKE ? ESCAPE '\\'", [f"%{escaped}%"]))
    return meanings


def _reduced_formula(text: str) -> str | None:
    if not re.fullmatch(r"[A-Za-z0-9().\[\]]+", text):
        return None
    try:
        return Composition(text).reduced_formula
    except (ValueError, ZeroDivisionError, OverflowError):  # not a formula: one of the other meanings
        return None


def _to_row(record: LatentRecord) -> tuple:
    latent = np.ascontiguousarray(record.latent, dtype="<f2")
    return (
        record.material_id,
        record.formula,
        record.chemical_system,
        float(record.n_electrons),
        record.kind,
        record.engine,
        *(int(n) for n in record.shape),
        json.dumps(np.asarray(record.lattice, dtype=float).tolist()),
        json.dumps([int(number) for number in record.numbers]),
        json.dumps(np.asarray(record.frac_coords, dtype=float).tolist()),
        json.dumps(asdict(record.grid)),
        record.autoencoder_sha256,
        latent.shape[0],
        latent.shape[1],
        latent.tobytes(),
    )


def _from_row(row: tuple) -> LatentRecord:
    material_id, formula, _, n_electrons, kind, engine, nx, ny, nz, lattice, numbers, frac_coords, grid, *rest = row
    autoencoder_sha256, channels, size, blob = rest
    if not all(type(n) is int for n in (nx, ny, nz, channels, size)):
        raise ValueError(f"sizes {nx}, {ny}, {nz}, {channels}, {size} are not whole numbers"[:200])
    grid, numbers = json.loads(grid), json.loads(numbers)
    if not all(type(number) is int for number in numbers):
        raise ValueError("atomic numbers are not whole numbers")
    return LatentRecord(
        material_id=material_id,
        formula=formula,
        latent=np.frombuffer(blob, dtype="<f2").astype(np.float16).reshape(channels, size, size, size),
        lattice=np.array(json.loads(lattice), dtype=np.float64).reshape(3, 3),
        numbers=np.array(numbers, dtype=np.int64),
        frac_coords=np.array(json.loads(frac_coords), dtype=np.float64).reshape(-1, 3),
        n_electrons=float(n_electrons),
        shape=(nx, ny, nz),
        kind=kind,
        engine=engine,
        grid=Grid(grid["kind"], grid["size"], grid["voxel_ang"]),
        autoencoder_sha256=autoencoder_sha256,
    )
