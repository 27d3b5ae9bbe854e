"""Check of all results of a run when Snakemake starts: damage, and inputs replaced by older files.

Snakemake compares times only. So a damaged result that no later rule reads is never noticed, and neither is an input
that was replaced by an older file. Files whose size and time are those of their record are not read here: what
damage leaves both alone is noticed by the job that reads the file.
"""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rho2prop.core.atomic_files import atomic
from rho2prop.core.errors import InputError
from rho2prop.core.jobs.provenance import (
    RESULTS,
    SUFFIX,
    Record,
    difference,
    digest,
    read_record,
    recorded_digest,
    stat,
)

SHOWN = 10
KNOWN = Path(".snakemake/rho2prop/checked.json")  # of files that were touched or copied since: read once
READERS = 4
LONG_AGO_NS = 10**9  # time of a result that Snakemake is to compute again


def check_run(folders: tuple[str, ...] = RESULTS) -> list[str]:
    """Check every result that has a record; the working directory is the run's.

    A result whose input (a file of the user) was replaced by another one with an earlier time is dated back, so that
    Snakemake computes it again.

    Returns
    -------
    list of str
        Results that were dated back.

    Raises
    ------
    InputError
        Naming the damaged results (at most 10) and how to restore them.
    """
    known = _Known()
    with ThreadPoolExecutor(READERS) as pool:
        checked = list(pool.map(lambda path: _read(path, known), _recorded(folders)))
    records = {record.path: record for record, _ in checked if record is not None}
    problems = [problem for _, problem in checked if problem is not None]
    problems += [problem for record in records.values() if (problem := _outdated(record, records)) is not None]
    if problems:
        raise _refusal(problems)
    outdated = [record.path for record in records.values() if _has_older_input(record, known)]
    for path in outdated:
        _date_back(Path(path))
    known.save()
    return outdated


def _recorded(folders: tuple[str, ...]) -> Iterator[str]:
    """Paths of the results that have a record."""
    for folder in folders:
        if not os.path.isdir(folder):
            continue
        names, inside = set(), []
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") and entry.name.endswith(SUFFIX):
                    names.add(entry.name[1 : -len(SUFFIX)])
                elif entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                    inside.append(entry.name)
        yield from (f"{folder}/{name}" for name in sorted(names))
        yield from _recorded(tuple(f"{folder}/{name}" for name in sorted(set(inside) - names)))


def _read(path: str, known: "_Known") -> tuple[Record | None, InputError | None]:
    """The record of a result, and what is wrong with either of them."""
    if not os.path.exists(path):  # Snakemake sees that
        return None, None
    for _ in range(2):  # a job may be just writing it
        try:
            record = read_record(path)
        except InputError as error:
            return None, error
        problem = "" if record is None else difference(record, is_known=known)
        if not problem or not os.path.exists(path):
            return record, None
    return record, InputError(path, problem, "")


def _outdated(record: Record, records: dict[str, Record]) -> InputError | None:
    """An input was replaced, together with its record, by one that is not newer."""
    for source, expected in record.inputs.items():
        whole = records.get(source)
        current = recorded_digest(source, records) if whole is None else whole.sha256
        if current in (None, expected) or _time_ns(source) > _time_ns(record.path):
            continue
        return InputError(
            record.path,
            f"was made from another version of {source} than the one that is there now",
            "",
            code="outdated",
        )
    return None


def _has_older_input(record: Record, known: "_Known") -> bool:
    for source, written in record.outside.items():
        path = Path(source)
        if not path.is_file():
            continue
        state = stat(path)
        if state[1] > _time_ns(record.path):  # which Snakemake sees
            continue
        if state[0] != written[0] or not (known(path, state, written) or digest(path) == written[2]):
            return True
    return False


def _time_ns(path: str) -> int:
    """Time of modification as Snakemake sees it."""
    stamp = os.path.join(path, ".snakemake_timestamp")
    return os.stat(stamp if os.path.isfile(stamp) else path).st_mtime_ns


def _date_back(path: Path) -> None:
    stamp = path / ".snakemake_timestamp"
    if path.is_dir():
        stamp.touch()
    os.utime(stamp if path.is_dir() else path, ns=(LONG_AGO_NS, LONG_AGO_NS))


def _refusal(problems: list[InputError]) -> InputError:
    shown = problems[:SHOWN]
    cut = f" ... and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    text = "; ".join(f"{problem.source}: {problem.problem}" for problem in shown)
    names = " ".join(problem.source for problem in shown)
    fix = f"Delete what is damaged and repeat the command, which computes it again: rm -r {names}"
    return InputError(f"{len(problems)} damaged results", text + cut, fix, code="damaged")


class _Known:
    """Whether a file is the one of its record: by size and time, or because it was read once since it was touched."""

    def __init__(self) -> None:
        try:
            self.before = json.loads(KNOWN.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self.before = {}
        self.now: dict[str, list] = {}

    def __call__(self, path: Path, state: tuple[int, int], written: list) -> bool:
        if state[1] == written[1]:
            return True
        entry = [*state, written[2]]
        if self.before.get(str(path)) != entry and digest(path) != written[2]:
            return False
        self.now[str(path)] = entry
        return True

    def save(self) -> None:
        if self.now != self.before and os.access(".", os.W_OK):
            with atomic(KNOWN) as temporary:
                temporary.write_text(json.dumps(self.now, indent=0), encoding="utf-8")
