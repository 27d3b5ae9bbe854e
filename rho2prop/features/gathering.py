"""Join the features of chunks of materials into one file, in the order of the materials."""

import os
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from rho2prop.core.atomic_files import atomic
from rho2prop.core.errors import InputError
from rho2prop.features.crystal_graphs import read_graphs, write_graphs
from rho2prop.features.registry import GRAPH

IDS = "material_ids"
LENGTHS = 26  # where the header of a member of a zip archive holds the lengths of its name and extra field


def gather(chunks: list[str], material_ids: list[str], path: str) -> None:
    """Write the rows of several files of one kind as one file.

    Parameters
    ----------
    chunks
        ``.csv`` tables of a block, ``.npz`` of graphs, or ``.npz`` with the ids and arrays with a row for each
        (latents). A file without any material may lack the columns of the others.
    material_ids
        Rows to write, in this order.
    path
        File to write; ``graph.npz`` for graphs.

    Raises
    ------
    InputError
        A material is in no chunk, or chunks differ in their columns.
    """
    if Path(path).suffix == ".csv":
        _gather_tables(chunks, material_ids, path)
    elif Path(path).stem == GRAPH:
        graphs = {name: graph for chunk in chunks for name, graph in read_graphs(chunk).items()}
        _require_all(material_ids, graphs, path)
        write_graphs({name: graphs[name] for name in material_ids}, path)
    else:
        _gather_arrays(chunks, material_ids, path)


def _gather_tables(chunks: list[str], material_ids: list[str], path: str) -> None:
    """Lines are copied as they are: ids hold no commas, and numbers keep their last digit."""
    header = ""
    lines: dict[str, str] = {}
    for chunk in chunks:
        first, *rows = Path(chunk).read_text(encoding="utf-8").splitlines(keepends=True)
        if not rows:
            continue
        if header not in ("", first):
            raise InputError(chunk, f"has other columns than {chunks[0]}", "Delete both: they are computed again")
        header = first
        lines |= {line.partition(",")[0]: line for line in rows}
    _require_all(material_ids, lines, path)
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as out:
        out.write(header)
        out.writelines(lines[name] for name in material_ids)


def _gather_arrays(chunks: list[str], material_ids: list[str], path: str) -> None:
    """Rows go from file to file: the memory does not grow with their number."""
    place: dict[str, tuple[str, int]] = {}
    names: list[str] = []
    for chunk in chunks:
        with np.load(chunk) as archive:
            place |= {str(name): (chunk, row) for row, name in enumerate(archive[IDS])}
            names = [name for name in archive.files if name != IDS]
    _require_all(material_ids, place, path)
    rows = [place[name] for name in material_ids]
    with atomic(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        with archive.open(f"{IDS}.npy", "w") as out:
            np.lib.format.write_array(out, np.array(material_ids, dtype=str))
        for name in names:
            stored = {chunk: _mapped(chunk, name) for chunk in sorted({chunk for chunk, _ in rows})}
            first = next(iter(stored.values()))
            header = {"descr": np.lib.format.dtype_to_descr(first.dtype), "fortran_order": False}
            with archive.open(f"{name}.npy", "w", force_zip64=True) as out:
                np.lib.format.write_array_header_1_0(out, header | {"shape": (len(rows), *first.shape[1:])})
                for chunk, row in rows:
                    out.write(stored[chunk][row].tobytes())


def _mapped(path: str, name: str) -> np.ndarray:
    """An array of an uncompressed ``.npz``, of which only the rows that are used are read."""
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        file.seek(archive.getinfo(f"{name}.npy").header_offset + LENGTHS)
        file.seek(sum(struct.unpack("<HH", file.read(4))), os.SEEK_CUR)
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        return np.memmap(path, dtype, "r", file.tell(), shape)


def _require_all(material_ids: list[str], found: Iterable[str], path: str) -> None:
    missing = sorted(set(material_ids).difference(found))
    if missing:
        problem = f"no chunk has {len(missing)} of its materials, the first is {missing[0]!r}"
        raise InputError(path, problem, "Delete the folder results/chunks: it is computed again", code="missing")
