"""A dated snapshot of the Materials Project's elastic materials, which makes a run reproducible.

The file is gzipped JSON lines. The first line says what it is: ``format``, ``schema``, ``database_version``,
``fetched_utc``, ``client``, ``n_materials`` and ``queries`` (route, filters sent, fields, number of documents, ids
that occur twice: the first counts). Each further line is one material: ``material_id``, ``elasticity`` and ``summary``,
the two documents as the REST interface gave them, or null where it gave none. The key is not in it. Filters of the
configuration are not in it either: they are applied when the snapshot is read (``records``), so that
changing them needs no network.
"""

import gzip
import json
import re
import shutil
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm import tqdm

from rho2prop.core.atomic_files import atomic
from rho2prop.core.errors import InputError
from rho2prop.dft.materials_project.client import (
    Patience,
    ServiceError,
    connect,
    database_version,
    material_id,
    with_retries,
)

FORMAT = "rho2prop snapshot of the Materials Project"
SCHEMA = 1
MATERIAL_ID = r"[A-Za-z0-9][A-Za-z0-9._-]*"  # it names files, too
FIX_SNAPSHOT = "Delete it and let the workflow fetch it again, or name another one as materials_project.snapshot"


@dataclass(frozen=True)
class Query:
    """One question to the REST interface.

    Parameters
    ----------
    route
        Name of mp-api's rester under ``materials``.
    filters
        Query parameters by the interface's own names; at least one, or mp-api reads a data lake of everything.
    fields
        What is asked for of each document.
    """

    route: str
    filters: dict
    fields: tuple[str, ...]


TENSORS = "has_props"  # filter of summaries: only those of materials with elastic tensors
QUERIES = (
    # by g_vrh: mp-api's search(k_vrh=…) sends its upper end as g_vrh_max
    Query(
        "elasticity",
        {"g_vrh_min": 0, "g_vrh_max": 1000},
        ("material_id", "formula_pretty", "bulk_modulus", "shear_modulus", "debye_temperature", "state", "warnings"),
    ),
    Query(
        "summary",
        {TENSORS: "elasticity", "deprecated": False, "_sort_fields": "material_id"},
        (
            "material_id",
            "formula_pretty",
            "structure",
            "symmetry",
            "nsites",
            "deprecated",
            "formation_energy_per_atom",
            "energy_above_hull",
            "ordering",
            "total_magnetization",
            "theoretical",
        ),
    ),
)


@dataclass(frozen=True)
class Download:
    """Download of a snapshot: keys of the section ``materials_project`` of the configuration.

    Parameters
    ----------
    page_size
        Materials per request, at most 1000.
    pause_s
        Seconds between requests.
    timeout_s, retries, backoff_s
        As in ``Patience``.
    """

    page_size: int
    pause_s: float
    timeout_s: float
    retries: int
    backoff_s: float

    @property
    def patience(self) -> Patience:
        """Timeouts and retries of the client."""
        return Patience(self.timeout_s, self.retries, self.backoff_s)


def queries_for(all_materials: bool) -> tuple[Query, ...]:
    """Queries for materials with elastic tensors, or for all of them with the tensors that there are."""
    if not all_materials:
        return QUERIES
    return tuple(replace(query, filters={k: v for k, v in query.filters.items() if k != TENSORS}) for query in QUERIES)


def fetch_snapshot(path: Path | str, settings: Download, all_materials: bool = False) -> None:
    """Download the snapshot, page by page; an interrupted download resumes.

    Parameters
    ----------
    path
        Snapshot to write; an existing one is kept. Pages are stored in ``<path>.parts`` until all are fetched.
    settings
        How it is fetched.
    all_materials
        Whether also those without an elastic tensor.

    Raises
    ------
    ServiceError
        No key, a refused key, no network, rate limit, server trouble, or a database that changed meanwhile.
    """
    path, patience = Path(path), settings.patience
    if path.exists():
        print(f"{path}: exists, of database {read_header(path)['database_version']}; nothing is fetched")
        return
    client, database = connect(patience)
    parts = path.with_name(f"{path.name}.parts")
    queries = queries_for(all_materials)
    _prepare_parts(parts, database, settings.page_size, queries)
    counts = {}
    for query in queries:
        counts[query.route] = _fetch_pages(client, query, parts, settings)
    if database_version(patience) != database:
        raise _changed(parts)
    header = {
        "format": FORMAT,
        "schema": SCHEMA,
        "database_version": database,
        "fetched_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "client": f"mp-api {version('mp-api')}",
        "queries": [
            {
                "route": query.route,
                "filters": query.filters,
                "fields": list(query.fields),
                "documents": counts[query.route][0],
                "repeated_ids": counts[query.route][1],
            }
            for query in queries
        ],
    }
    n_materials = _write_snapshot(path, header, parts)
    shutil.rmtree(parts)
    repeated = sum(n_repeated for _, n_repeated in counts.values())
    print(f"{path}: {n_materials} materials of database {database}; ids that came twice: {repeated}")


def read_header(path: Path | str) -> dict:
    """The first line of a snapshot.

    Raises
    ------
    InputError
        The file is missing, is not a snapshot, or has another schema.
    """
    return _header(next(_lines(Path(path))), Path(path))


def require_all_materials(header: dict, path: Path | str) -> None:
    """Raise InputError if a snapshot was fetched without the materials that have no elastic tensor."""
    for query in header.get("queries", []):
        if TENSORS in query.get("filters", {}):
            problem = "holds only materials with elastic tensors, and materials_project.without_labels is predict"
            fix = "Name another file as materials_project.snapshot, which is fetched; or set the key to leave_out"
            raise InputError(path, problem, fix, code="only_tensors")


def read_records(path: Path | str) -> Iterator[dict]:
    """The materials of a snapshot: ``material_id``, ``elasticity`` and ``summary`` (each a document or None).

    A line that is not such a material has ``problem`` instead, which says why, and "line 12" as its id. Of an id that
    comes more than once the first line counts.

    Raises
    ------
    InputError
        As ``read_header``, or the file is cut off.
    """
    lines = _lines(Path(path))
    n_expected = _header(next(lines), Path(path))["n_materials"]
    n_found = 0
    first_lines: dict[str, int] = {}
    for number, line in enumerate(lines, start=2):
        if not line.strip():
            continue
        n_found += 1
        record = _record(line, number)
        first = first_lines.setdefault(record["material_id"], number)
        if first != number:
            record["problem"] = f"its id came before, on line {first}, which counts"
        yield record
    if n_found != n_expected:
        problem = f"holds {n_found} materials, its first line promises {n_expected}"
        raise InputError(path, problem, FIX_SNAPSHOT)


def _lines(path: Path) -> Iterator[bytes]:
    if not path.is_file():
        fix = "Check materials_project.snapshot, or let the workflow fetch it"
        raise InputError(path, "there is no such snapshot", fix, code="missing")
    try:
        with gzip.open(path, "rb") as file:
            yield file.readline()
            yield from file
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(path, f"is not a whole snapshot ({error})", FIX_SNAPSHOT, code="truncated") from error


def _record(line: bytes, number: int) -> dict:
    """One material, or why its line is not one."""
    name = f"line {number}"
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, nested without end
        return {"material_id": name, "problem": f"its line cannot be read ({type(error).__name__}: {error})"}
    if not isinstance(content, dict):
        return {"material_id": name, "problem": f"its line is a {type(content).__name__}, expected a JSON object"}
    found = content.get("material_id")
    if not isinstance(found, str) or not re.fullmatch(MATERIAL_ID, found):
        return {"material_id": name, "problem": f"material_id is {str(found)[:40]!r}, expected an id like mp-149"}
    for route in ("elasticity", "summary"):
        document = content.setdefault(route, None)
        if document is not None and not isinstance(document, dict):
            problem = f"{route} is a {type(document).__name__}, expected a JSON object or null"
            return {"material_id": found, "problem": problem}
    return content


def _header(line: bytes, path: Path) -> dict:
    try:
        header = json.loads(line)
    except (ValueError, RecursionError) as error:
        problem = f"is not a whole snapshot (its first line cannot be read: {error})"
        raise InputError(path, problem, FIX_SNAPSHOT, code="truncated") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise InputError(path, "is not a snapshot of the Materials Project", FIX_SNAPSHOT, code="format")
    if header.get("schema") != SCHEMA:
        problem = f"has schema {header.get('schema')!r}, this version of rho2prop reads schema {SCHEMA}"
        raise InputError(path, problem, FIX_SNAPSHOT, code="version")
    for key, kind in (("database_version", str), ("fetched_utc", str), ("n_materials", int)):
        if not isinstance(header.get(key), kind):
            raise InputError(path, f"lacks {key} in its first line", FIX_SNAPSHOT)
    return header


def _prepare_parts(parts: Path, database: str, page_size: int, queries: tuple[Query, ...]) -> None:
    """Keep the pages of an interrupted download only if request and database are the same."""
    plan = {
        "schema": SCHEMA,
        "database_version": database,
        "page_size": page_size,
        "queries": [[query.route, query.filters, list(query.fields)] for query in queries],
    }
    plan_path = parts / "plan.json"
    if plan_path.is_file() and plan_path.read_text(encoding="utf-8") == json.dumps(plan):
        return
    if parts.exists():
        print(f"{parts}: pages of another database version or request are fetched again")
        shutil.rmtree(parts)
    with atomic(plan_path) as temporary:
        temporary.write_text(json.dumps(plan), encoding="utf-8")


def _fetch_pages(client: Any, query: Query, parts: Path, settings: Download) -> tuple[int, int]:
    """Fetch all pages of a query that are not there yet; the number of its documents, and of ids that came twice."""
    rester = getattr(client.materials, query.route)
    ids, total, page, n_documents, n_nameless = set(), None, 0, 0, 0
    with tqdm(desc=query.route, unit="material") as bar:
        while total is None or n_documents < total:
            page += 1
            path = parts / f"{query.route}-{page:05d}.json.gz"
            answer = _read_part(path)
            if answer is None:
                ask = partial(_ask, rester, query, page, settings)
                answer = with_retries(ask, settings.patience, f"{query.route} {page}")
                with atomic(path) as temporary, gzip.open(temporary, "wt", encoding="utf-8") as file:
                    json.dump(answer, file)
                time.sleep(settings.pause_s)
            if total not in (None, answer["total"]) or (answer["total"] and not answer["documents"]):
                raise _changed(parts)
            total = bar.total = answer["total"]
            found = [_id(document) for document in answer["documents"]]
            ids |= set(found) - {None}
            n_documents += len(found)
            n_nameless += found.count(None)
            # where the interface sorts, an id that comes twice means that the pages moved and that another is lost
            if "_sort_fields" in query.filters and len(ids) < n_documents - n_nameless:
                raise _changed(parts)
            bar.update(len(answer["documents"]))
    if n_nameless:
        print(f"{query.route}: {n_nameless} documents without a readable id are left out")
    return n_documents, n_documents - n_nameless - len(ids)


def _id(document: Any) -> str | None:
    try:
        return material_id(document["material_id"])
    except (TypeError, KeyError, ValueError):
        return None


def _ask(rester: Any, query: Query, page: int, settings: Download) -> dict:
    # the public search() gives no page of elasticity and no total: one lost request would lose all pages before it;
    # its argument `fields` would build the schema of the whole document model for each page, at half a second
    answer = rester._query_resource(
        {**query.filters, "_page": page, "_limit": settings.page_size, "_fields": ",".join(query.fields)},
        num_chunks=1,
        chunk_size=settings.page_size,
        timeout=settings.timeout_s,
    )
    try:
        total, documents = answer["meta"]["total_doc"], answer["data"]
    except (KeyError, TypeError):
        total, documents = None, None
    if not isinstance(total, int) or not isinstance(documents, list):
        problem = f"its answer to {query.route} has no documents or does not say how many there are"
        raise ServiceError("Materials Project", problem, "Start again later, or report this")
    return {"total": total, "documents": documents}


def _read_part(path: Path) -> dict | None:
    """A page that was fetched before, or None; also where it is damaged."""
    if not path.is_file():
        return None
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            return json.load(file)
    except (EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
        print(f"{path}: is damaged ({error}) and is fetched again")
        return None


def _changed(parts: Path) -> ServiceError:
    shutil.rmtree(parts)
    problem = "the database changed during the download, its pages are inconsistent"
    return ServiceError("Materials Project", problem, "Start again: all pages are fetched again", code="changed")


def _write_snapshot(path: Path, header: dict, parts: Path) -> int:
    """Join both answers on the id; a material that only one of them has is kept, with null for the other."""
    elasticity: dict[str, dict] = {}
    for name, document in _documents(parts, "elasticity"):
        elasticity.setdefault(name, document)
    body = parts / "body.jsonl"  # the materials, before the first line can count them
    n_materials = 0
    with body.open("w", encoding="utf-8") as file:
        for name, summary in tqdm(_documents(parts, "summary"), desc="join", unit="material"):
            file.write(_record_line(name, elasticity.pop(name, None), summary))
            n_materials += 1
        for name, document in elasticity.items():
            file.write(_record_line(name, document, None))
            n_materials += 1
    with atomic(path) as temporary, gzip.open(temporary, "wt", encoding="utf-8") as file:
        file.write(json.dumps(header | {"n_materials": n_materials}) + "\n")
        with body.open(encoding="utf-8") as lines:
            shutil.copyfileobj(lines, file)
    return n_materials


def _record_line(name: str, elasticity: dict | None, summary: dict | None) -> str:
    record = {"material_id": name, "elasticity": elasticity, "summary": summary}
    return json.dumps(record, separators=(",", ":")) + "\n"


def _documents(parts: Path, route: str) -> Iterator[tuple[str, dict]]:
    """Ids and documents of all pages; those without a readable id are left out."""
    for path in sorted(parts.glob(f"{route}-*.json.gz")):
        answer = _read_part(path)
        for document in [] if answer is None else answer["documents"]:
            if (name := _id(document)) is not None:
                yield name, document
