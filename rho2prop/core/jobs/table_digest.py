"""Detect changes of the materials table during a run, whose labels are read once, at its start."""

import json
from pathlib import Path

from rho2prop.core.atomic_files import atomic
from rho2prop.core.errors import InputError
from rho2prop.core.jobs import provenance

RECORD = Path(".snakemake/rho2prop/materials_table.json")


def table_digest(path: Path | str) -> str:
    """Digest of the bytes of a table; empty if there is none."""
    path = Path(path)
    return provenance.digest(path) if path.is_file() else ""


def record_table(path: str | None, digest: str, folder: Path | str = ".") -> None:
    """Record the table that a run in ``folder`` starts with; not one that the run itself will write."""
    with atomic(Path(folder) / RECORD) as temporary:
        temporary.write_text(json.dumps({path: digest} if path and digest else {}))


def require_same_table(path: str | None, digest: str, folder: Path | str = ".") -> None:
    """Raise InputError if the table is not the one that the run started with.

    Parameters
    ----------
    path
        The materials table, or None where the labels come from no table of the user.
    digest
        ``table_digest`` when the labels that this job got were read.
    folder
        Folder of the run, for what ``record_table`` noted there: a job of a cluster reads the table by itself.

    Raises
    ------
    InputError
        It has changed since.
    """
    if path is None:
        return
    record = Path(folder) / RECORD
    started_with = json.loads(record.read_text()) if record.is_file() else {}
    if len({digest, table_digest(path), started_with.get(path, digest)}) > 1:
        fix = "Start the run again: it takes the table as it is now and redoes what depends on the change"
        raise InputError(path, "the materials table was changed during the run", fix, code="changed")
