"""Write the store of grids, one after another; a killed job leaves a part that the next one continues."""

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from tqdm import tqdm

from rho2prop.autoencoder.checkpoint import only_job
from rho2prop.autoencoder.grid_store import (
    COLUMNS,
    GRIDS,
    ROWS,
    STORE,
    TORCH_TYPE,
    StoreContent,
    prefetched,
    store_record,
)
from rho2prop.core.atomic_files import atomic
from rho2prop.core.errors import InputError
from rho2prop.core.jobs.code_digest import code_digest
from rho2prop.core.jobs.provenance import digest
from rho2prop.densities.density import read_npz
from rho2prop.densities.fields import take_field
from rho2prop.densities.grids import to_grid

UNFINISHED = "store"  # folder in ``work_dir`` that becomes the store


def write_store(
    folder: Path | str, paths: list[tuple[str, Path]], content: StoreContent, work_dir: Path | str, threads: int = 1
) -> None:
    """Write the grids of all densities, in their order.

    Parameters
    ----------
    folder
        Of the store; it appears there when it is complete.
    paths
        Material ids and density files.
    content
        Which grids.
    work_dir
        Where the unfinished store lies, on the same file system. What a killed job left there is continued: grids are
        kept up to the first one that belongs to another material, density, grid or code, or is damaged.
    threads
        Densities that are read at the same time.

    Raises
    ------
    InputError
        The disk is full, a density is unreadable or too large for the precision, or another job works in ``work_dir``.
    """
    folder, unfinished = Path(folder), Path(work_dir) / UNFINISHED
    with only_job(work_dir):
        unfinished.mkdir(parents=True, exist_ok=True)
        record = store_record(content, len(paths), code_digest(__file__))
        n_kept = _keep(unfinished, record, paths, content.row_bytes)
        _require_disk(unfinished, (len(paths) - n_kept) * content.row_bytes)
        _append(unfinished, paths[n_kept:], content, threads)
        if folder.is_dir():
            shutil.rmtree(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(unfinished, folder)


def _keep(unfinished: Path, record: dict, paths: list[tuple[str, Path]], row_bytes: int) -> int:
    """Cut the unfinished store to the grids that can be kept, whose number is returned."""
    lines = list(_intact(unfinished, record, paths, row_bytes))
    with atomic(unfinished / STORE) as temporary:
        temporary.write_text(json.dumps(record, indent=1), encoding="utf-8")
    with atomic(unfinished / ROWS) as temporary:
        temporary.write_text("\n".join([",".join(COLUMNS), *lines, ""]), encoding="utf-8")
    with (unfinished / GRIDS).open("ab") as file:
        file.truncate(len(lines) * row_bytes)
    if lines:
        print(f"{unfinished}: {len(lines)} of {len(paths)} grids are there already and kept", file=sys.stderr)
    return len(lines)


def _intact(unfinished: Path, record: dict, paths: list[tuple[str, Path]], row_bytes: int) -> Iterator[str]:
    """Lines of ``rows.csv`` up to the first one whose grid cannot be kept."""
    try:
        before = json.loads((unfinished / STORE).read_text(encoding="utf-8"))
        lines = (unfinished / ROWS).read_text(encoding="utf-8").splitlines()[1:]
        grids = (unfinished / GRIDS).open("rb")
    except (OSError, ValueError):
        return
    with grids:
        if before | {"n_grids": len(paths)} != record:
            return
        for (name, path), line in zip(tqdm(paths, desc="grids kept", unit="grid"), lines, strict=False):
            stored = hashlib.sha256(grids.read(row_bytes)).hexdigest()
            if not path.is_file() or line != f"{name},{digest(path)},{stored}":
                return
            yield line


def _append(unfinished: Path, paths: list[tuple[str, Path]], content: StoreContent, threads: int) -> None:
    def make(pair: tuple[str, Path]) -> tuple[bytes, str]:
        stored = _stored_grid(pair[1], content)
        return stored, f"{pair[0]},{digest(pair[1])},{hashlib.sha256(stored).hexdigest()}\n"

    rows = prefetched(make, paths, threads, 2 * threads)
    with (unfinished / GRIDS).open("ab") as grids, (unfinished / ROWS).open("a", encoding="utf-8") as journal:
        for stored, line in tqdm(rows, total=len(paths), desc=f"grids, {content.field}", unit="grid"):
            try:
                grids.write(stored)
                grids.flush()
                journal.write(line)
                journal.flush()
            except OSError as error:  # a quota, or others fill the disk
                problem = f"a grid of {len(stored):,} bytes cannot be written ({error.strerror})"
                fix = "Free disk space and give the same command again, which continues with the grids written so far"
                raise InputError(unfinished, problem, fix, "disk") from error


def _stored_grid(path: Path, content: StoreContent) -> bytes:
    values = torch.from_numpy(to_grid(take_field(read_npz(path), content.field, str(path)), content.grid))
    stored = values.to(TORCH_TYPE[content.precision])
    if not torch.isfinite(stored).all():
        problem = f"holds {values.abs().max():.3g} e/Å³, more than {content.precision} can"
        raise InputError(path, problem, "Set autoencoder.grid_precision: bf16 or fp32", "range")
    return stored.view(-1).view(torch.uint8).numpy().tobytes()


def _require_disk(folder: Path, n_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        problem = f"the grids need {n_bytes / 1e9:.1f} GB more on this disk, which has {free / 1e9:.1f} GB free"
        fix = "Free some, move the run to another disk, or set autoencoder.grid_precision: bf16 or a smaller grid.size"
        raise InputError(folder, problem, fix, "disk")
