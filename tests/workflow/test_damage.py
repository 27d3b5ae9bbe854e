"""Damage of every kind to every kind of file that a run leaves: it is noticed when Snakemake starts, or by the job
that reads the file; it is never used silently.
"""

import io
import os
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save
from standins.chain import Run
from standins.refusals import lacking

from rho2prop.core.errors import InputError
from rho2prop.core.jobs import run_check
from rho2prop.core.jobs.provenance import check_inputs, read_record, record_path
from rho2prop.core.jobs.run_check import check_run

TEXT = (".csv", ".json", ".txt", ".html", ".svg")
WITHOUT_RECORD = ("benchmarks", "checkpoints")  # times and memory, and what trainings resume from


@pytest.fixture(scope="module")
def finished(elements_run, tmp_path_factory) -> Run:
    """A copy of the finished run that may be damaged."""
    folder = tmp_path_factory.mktemp("damaged") / "run"
    shutil.copytree(elements_run.folder, folder)
    return Run(folder, elements_run.options)


@pytest.fixture
def units(finished, monkeypatch) -> list[str]:
    """All results with a record that are there (grids are not kept); the working directory is that of the run."""
    monkeypatch.chdir(finished.folder)
    return [unit for unit in run_check._recorded(run_check.RESULTS) if os.path.exists(unit)]


def cut(content: bytes, suffix: str) -> bytes:
    return content[: len(content) * 2 // 3]


def empty(content: bytes, suffix: str) -> bytes:
    return b""


def flip_a_bit(content: bytes, suffix: str) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]


def remove_rows(content: bytes, suffix: str) -> bytes:
    """Still a good file of its kind, with a row, array or line less."""
    if suffix in TEXT:
        lines = content.splitlines(keepends=True)
        return b"".join(lines[: len(lines) // 2] + lines[len(lines) // 2 + 1 :])
    if suffix == ".npz":
        with np.load(io.BytesIO(content)) as arrays:
            shorter = {name: arrays[name][:-1] if arrays[name].ndim else arrays[name] for name in arrays.files}
        stream = io.BytesIO()
        np.savez(stream, **dict(list(shorter.items())[: max(1, len(shorter) - 1)]))
        return stream.getvalue()
    if suffix == ".safetensors":
        return save(dict(list(load(content).items())[:-1]))
    path = Path("../shorter.sqlite")
    path.write_bytes(content)
    with sqlite3.connect(path) as database:
        (table,) = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%material_id%'")
        database.execute(f"DELETE FROM {table[0]} WHERE rowid = (SELECT max(rowid) FROM {table[0]})")
    database.close()
    return path.read_bytes()


DAMAGES = {"cut": cut, "emptied": empty, "bit flipped": flip_a_bit, "rows removed": remove_rows, "swapped": None}
KINDS = (*TEXT, ".npz", ".safetensors", ".sqlite", ".png")
CASES = [(kind, name) for kind in KINDS for name in DAMAGES if (kind, name) != (".png", "rows removed")]


def files_of(units: list[str], kind: str) -> dict[str, Path]:
    """One file of a kind of each result that has one; of many results of one rule two, so that they can be swapped."""
    found, seen = {}, {}
    for unit in units:
        record = read_record(unit)
        names = [name for name in record.files if (Path(unit) / name).suffix == kind and record.files[name][0] > 0]
        if names and seen.setdefault((record.rule, names[0]), []) is not None and len(seen[record.rule, names[0]]) < 2:
            seen[record.rule, names[0]].append(unit)
            found[unit] = Path(unit) / names[0] if names[0] else Path(unit)
    return found


def replace(path: Path, content: bytes, modified_ns: int) -> None:
    path.write_bytes(content)
    os.utime(path, ns=(modified_ns, modified_ns))


def test_every_kind_of_file_under_results_is_tried(finished, units):
    files = [path for path in Path("results").rglob("*") if path.is_file() and not path.name.startswith(".")]
    recorded = [path for path in files if path.parts[1] not in WITHOUT_RECORD]
    assert {path.suffix for path in recorded} == set(KINDS)
    for path in recorded:
        assert any(str(parent) in units for parent in (path, *path.parents)), path


@pytest.mark.parametrize(("kind", "name"), CASES, ids=[f"{kind[1:]} {name}" for kind, name in CASES])
def test_no_damage_is_used_silently(units, kind, name, monkeypatch):
    monkeypatch.setattr(run_check, "SHOWN", 1000)
    files = files_of(units, kind)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files.values()}
    contents = [content for content, _ in before.values()]
    try:
        damaged = {}
        for unit, path in files.items():
            content, modified_ns = before[path]
            others = [other for other in [*contents, contents[0][::-1]] if other != content]
            changed = others[0] if name == "swapped" else DAMAGES[name](content, kind)
            if changed == content:  # one line, and none of it to lose
                continue
            damaged[unit] = path
            replace(path, changed, modified_ns + 10**9)
        assert damaged
        with pytest.raises(InputError) as error:
            check_run()
        assert set(error.value.fix.split("rm -r ")[1].rstrip(".").split()) == set(damaged)
        for unit, path in damaged.items():  # though it seems untouched, the job that reads it refuses
            os.utime(path, ns=(before[path][1],) * 2)
            with pytest.raises(InputError, match=unit.replace("+", r"\+")):
                check_inputs([unit])
    finally:
        for path, (content, modified_ns) in before.items():
            replace(path, content, modified_ns)
    check_run()


def folders_of(units: list[str]) -> dict[str, list[str]]:
    """Two folders of each rule that makes folders with the same files in them, or the one that there is."""
    found = {}
    for unit in filter(os.path.isdir, units):
        record = read_record(unit)
        if len(found.setdefault(record.rule, [])) < 2:
            found[record.rule].append(unit)
    return found


@pytest.mark.parametrize("name", ["emptied", "file removed", "file added", "swapped", "file of another"])
def test_no_damaged_folder_is_used_silently(units, name, tmp_path, monkeypatch):
    monkeypatch.setattr(run_check, "SHOWN", 1000)
    damaged = []
    for rule, (folder, *others) in folders_of(units).items():
        saved = tmp_path / rule
        shutil.copytree(folder, saved)
        file = next(path for path in sorted(Path(folder).rglob("*")) if path.is_file() and path.name[0] != ".")
        try:
            if name == "emptied":
                shutil.rmtree(folder)
                Path(folder).mkdir()
            elif name == "file removed":
                file.unlink()
            elif name == "file added":
                shutil.copy2(file, file.with_name(f"again-{file.name}"))
            elif not others:
                continue
            elif name == "swapped":
                shutil.rmtree(folder)
                shutil.copytree(others[0], folder)
                shutil.copy2(record_path(others[0]), tmp_path / "record")
                shutil.copy2(record_path(folder), tmp_path / "own")
                shutil.copy2(tmp_path / "record", record_path(folder))  # even with its record
            else:
                same = Path(others[0]) / file.relative_to(folder)
                if not same.is_file() or same.read_bytes() == file.read_bytes():
                    continue
                shutil.copy2(same, file)
            damaged.append(rule)
            for look in (check_run, lambda folder=folder: check_inputs([folder])):
                with pytest.raises(InputError, match=folder.replace("+", r"\+")):
                    look()
        finally:
            shutil.rmtree(folder)
            shutil.copytree(saved, folder)
            if (tmp_path / "own").exists():
                shutil.move(tmp_path / "own", record_path(folder))
    assert "run_dft" in damaged
    check_run()


def test_the_command_refuses_what_is_damaged_and_makes_it_anew_once_it_is_deleted(finished):
    features, predictions = (finished.folder / f"results/{name}.csv" for name in ("features/structure", "predictions"))
    before = features.read_bytes()
    features.write_bytes(before[:-9])  # inside the last row: models would take the mean for what is missing
    final = predictions.read_bytes()
    predictions.write_bytes(flip_a_bit(final, ".csv"))  # which no rule reads
    result = finished.snakemake()
    assert result.returncode != 0
    assert "2 damaged results" in result.stdout
    assert "rm -r results/predictions.csv results/features/structure.csv" in result.stdout
    assert "Traceback" not in result.stdout
    features.unlink()
    predictions.write_bytes(final)
    result = finished.snakemake("--allowed-rules", "gather_chunks", "--", "results/features/structure.csv")
    assert result.returncode == 0, result.stdout[-3000:]
    assert features.read_bytes() == before


def test_flipped_bits_in_weights_are_not_certified_by_the_next_bundle(finished):
    path = finished.folder / "results/autoencoder/all/model.safetensors"
    content, modified_ns = path.read_bytes(), path.stat().st_mtime_ns
    replace(path, flip_a_bit(content, ".safetensors"), modified_ns)  # size and time say nothing
    try:
        result = finished.snakemake(
            "--allowed-rules", "write_bundle", "--forcerun", "write_bundle", "--", "results/models"
        )
    finally:
        replace(path, content, modified_ns)
    assert result.returncode != 0
    assert not lacking(result.stdout, "results/autoencoder/all", "model.safetensors", "SHA-256")
    assert not (finished.folder / "results/models").exists()
