"""Records of what each result of a run was made from, and checks that it has not changed since.

Beside every output of a rule lies a hidden record, ``results/features/.magpie.csv.record.json``, of a folder beside
the folder. It holds the SHA-256 of the content and of all that the result was made from. Jobs check what they read
(``check_inputs``) and record what they wrote (``seal``); Snakemake's main process checks all results when it starts
(``rho2prop.core.jobs.run_check``).

``python -m rho2prop.core.jobs.provenance results/dft/*`` writes records of results as they are, for those of an
earlier version or made by hand.
"""

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from rho2prop.core.atomic_files import atomic
from rho2prop.core.errors import InputError

FORMAT = 1
RESULTS = ("results", "resources/elements")  # folders of a run whose files have records
SUFFIX, KEPT_SUFFIX = ".record.json", ".kept.json"
NOT_CONTENT = (".snakemake_timestamp", ".nfs")  # beginnings of names that others put into folders
SELF = ""  # name of a file in its own record; those of a folder have their path in it


@dataclass(frozen=True)
class Record:
    """Record of one result.

    Parameters
    ----------
    path
        Of the result, relative to the folder of the run.
    rule, wildcards
        Rule and wildcards that made it.
    sha256
        Digest of the content: of a file its own, of a folder that of ``files``.
    files
        Bytes, time of modification in ns and SHA-256 of each file, by its path in the folder; of a file under ``""``.
    inputs
        Results that it was made from: path to digest.
    outside
        Files of the user that it was made from: path to bytes, time of modification in ns and SHA-256.
    """

    path: str
    rule: str
    wildcards: dict[str, str]
    sha256: str
    files: dict[str, list]
    inputs: dict[str, str]
    outside: dict[str, list]
    format: int = FORMAT


def record_path(path: Path | str) -> Path:
    """Path of the record of a result."""
    path = Path(path)
    return path.with_name(f".{path.name}{SUFFIX}")


def local(path: Path | str) -> str:
    """The path relative to the folder of the run if it is inside, else unchanged."""
    path = os.path.normpath(path)
    relative = os.path.relpath(path) if os.path.isabs(path) else path
    return path if relative.startswith(os.pardir) else relative


def is_result(path: Path | str) -> bool:
    """Whether a path is one of those that have records."""
    return any(local(path).startswith(f"{folder}/") for folder in RESULTS)


def read_record(path: Path | str) -> Record | None:
    """The record of a result, or None if there is none.

    Raises
    ------
    InputError
        The record is damaged or that of another result.
    """
    name = local(path)
    try:
        text = record_path(name).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise damaged(name, f"its record {record_path(name)} is damaged ({error})") from error
    try:
        content = json.loads(text)
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}, expected {FORMAT}")
        record = Record(**content)
        if record.sha256 != _joined(record.files):
            raise ValueError("its digests contradict each other")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise damaged(name, f"its record {record_path(name)} is damaged ({error})") from error
    if record.path != name:
        raise damaged(name, f"its record {record_path(name)} is that of {record.path}")
    return record


def seal(
    paths: Iterable[Path | str],
    rule: str,
    wildcards: Mapping[str, str] | None = None,
    inputs: Mapping[str, str] | None = None,
    outside: Mapping[str, list] | None = None,
) -> None:
    """Write the record of each result that was just made."""
    for name in filter(is_result, map(local, paths)):
        files = {key: [*stat(file), digest(file)] for key, file in _content(name).items()}
        origin = (dict(wildcards or {}), _joined(files), files, dict(inputs or {}), dict(outside or {}))
        with atomic(record_path(name)) as temporary:
            temporary.write_text(json.dumps(asdict(Record(name, rule, *origin)), indent=0), encoding="utf-8")


def unseal(paths: Iterable[Path | str]) -> None:
    """Remove the records of results that are about to be made."""
    for path in filter(is_result, paths):
        record_path(path).unlink(missing_ok=True)


def check_inputs(
    paths: Iterable[Path | str], threads: int = 1, later: Iterable[Path | str] = ()
) -> tuple[dict[str, str], dict[str, list]]:
    """Check results before they are read: complete, in their place and consistent with their own inputs.

    Parameters
    ----------
    paths
        Results, and files of the user, whose digests are taken.
    threads
        Files that are read at the same time.
    later
        Those of ``paths`` whose content is not read now (``CheckedPaths`` does so when they are needed).

    Returns
    -------
    inputs, outside
        For the records of what is made of them, see ``Record``.

    Raises
    ------
    InputError
        Naming the first file that has changed, and how to restore it.
    """
    later = {local(path) for path in later}
    names = list(dict.fromkeys(local(path) for path in paths))
    results = [name for name in names if is_result(name)]
    outside = [name for name in names if not is_result(name) and os.path.isfile(name)]
    with ThreadPoolExecutor(max_workers=max(1, threads)) as pool:
        digests = pool.map(lambda name: check_input(name, name not in later), results)
        inputs = dict(zip(results, digests, strict=True))
        states = pool.map(lambda name: [*stat(Path(name)), digest(Path(name))], outside)
        return inputs, dict(zip(outside, states, strict=True))


def check_input(path: Path | str, content: bool = True) -> str:
    """Check one result that is about to be read; see ``check_inputs``. Returns its digest."""
    name = local(path)
    record, inner = _record_over(name)
    if record is None:
        accept = f"python -m rho2prop.core.jobs.provenance {name}"
        fix = f"Delete it (rm -r {name}) and give the same command again; or accept it as it is: {accept}"
        raise InputError(
            name, "has no record: it is of an earlier version, or was put there by hand", fix, code="no_record"
        )
    if content:
        problem = difference(record, inner)
        if problem:
            raise damaged(record.path, problem)
    for source, expected in record.inputs.items():
        current = recorded_digest(source)
        if current not in (None, expected):
            raise damaged(record.path, f"was made from another version of {source} than the one that is there now")
    return record.files[inner][2] if inner else record.sha256


class CheckedPaths(dict[str, Path]):
    """Paths by id, each checked when it is looked up: for jobs that read only some of their inputs."""

    def __getitem__(self, key: str) -> Path:
        path = super().__getitem__(key)
        check_input(path)
        return path


def content_digest(path: Path | str) -> str:
    """SHA-256 of a file, or of the names and digests of the files in a folder."""
    return _joined({name: [0, 0, digest(file)] for name, file in _content(str(path)).items()})


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def keep(path: Path | str) -> None:
    """Before a file is updated: set its record aside, and remove a file that does not match it.

    A killed job leaves the old record there, so that the next one knows whether the old content is intact.
    """
    name = local(path)
    record, kept = record_path(name), Path(name).with_name(f".{Path(name).name}{KEPT_SUFFIX}")
    if record.is_file():
        os.replace(record, kept)
    if not Path(name).exists():
        return
    try:
        content = Record(**json.loads(kept.read_text(encoding="utf-8")))
        whole = content.path == name and digest(Path(name)) == content.files[SELF][2]
    except (OSError, ValueError, TypeError, KeyError):
        whole = False
    if not whole:
        print(f"{name} is not what was last written; it is computed again", file=sys.stderr)
        Path(name).unlink()


def _record_over(name: str, records: Mapping[str, Record] | None = None) -> tuple[Record | None, str]:
    """The record of a result, or of the folder around it and its path in it."""
    path = Path(name)
    for folder in (path, *path.parents):
        if not is_result(folder):
            break
        record = read_record(folder) if records is None else records.get(str(folder))
        if record is not None:
            inner = "" if folder == path else path.relative_to(folder).as_posix()
            if inner and inner not in record.files:
                raise damaged(record.path, f"has a file {inner} that was not there when it was made")
            return record, inner
    return None, ""


def recorded_digest(name: str, records: Mapping[str, Record] | None = None) -> str | None:
    """Digest that the record of a result has now; None if it was deleted. ``records``: those that are read already."""
    record, inner = _record_over(name, records)
    if record is None or not os.path.exists(name):
        return None
    return record.files[inner][2] if inner else record.sha256


def difference(record: Record, inner: str = "", is_known: Callable[[Path, tuple, list], bool] | None = None) -> str:
    """Difference between a result (or the file ``inner`` of a folder) and its record; empty if there is none.

    ``is_known`` tells from path, size and time, and what the record says, whether the content need not be read.
    """
    content = _content(record.path)
    expected = {inner: record.files[inner]} if inner else record.files
    missing = sorted(set(expected) - set(content))
    if missing:
        return f"{missing[0] or record.path} is missing in it" if missing[0] else "is a folder, but was a file"
    added = sorted(set(content) - set(record.files))
    if added and not inner:
        return f"has a file {added[0]} that was not there when it was made"
    for name, written in expected.items():
        size, _, sha256 = written
        state = stat(content[name])
        where = f"{name}: " if name else ""
        if state[0] != size:
            return f"{where}has {state[0]} bytes, {size} were written"
        if is_known is not None and is_known(content[name], state, written):
            continue
        if digest(content[name]) != sha256:
            return f"{where}its content is not what was written (SHA-256)"
    return ""


def _content(name: str) -> dict[str, Path]:
    """All files of a result: a folder's by their path in it."""
    path = Path(name)
    if path.is_file():
        return {SELF: path}
    files = {}
    for folder, _, names in os.walk(path):
        for file in names:
            if not file.startswith(NOT_CONTENT):
                whole = os.path.join(folder, file)
                files[os.path.relpath(whole, path)] = Path(whole)
    return dict(sorted(files.items()))


def _joined(files: Mapping[str, list]) -> str:
    if set(files) == {SELF}:
        return files[SELF][2]
    return hashlib.sha256("".join(f"{name}\0{files[name][2]}\n" for name in sorted(files)).encode()).hexdigest()


def stat(path: Path) -> tuple[int, int]:
    """Bytes and time of modification in ns."""
    state = path.stat()
    return state.st_size, state.st_mtime_ns


def damaged(name: str, problem: str) -> InputError:
    """Error for a damaged result, with how to restore it."""
    return InputError(
        name,
        problem,
        f"Delete it (rm -r {name}) and give the same command again, which computes it again",
        code="damaged",
    )


def accept(paths: Iterable[Path | str]) -> None:
    """Write records of results as they are."""
    for path in map(str, paths):
        if not is_result(path) or not os.path.exists(path):
            fix = f"Give files or folders in {' or '.join(RESULTS)} of the run that you are in"
            raise InputError(path, "is not a result of this run", fix, code="not_a_result")
        seal([path], "accepted")


if __name__ == "__main__":
    try:
        accept(sys.argv[1:])
    except InputError as error:
        sys.exit(f"rho2prop: {error}")
