"""Store of the grids that autoencoders learn from: one folder per field, written once, read a few grids at a time.

``grids.raw`` holds the cubes one after another (C order, little-endian), ``rows.csv`` the digests of each,
``store.json`` what they are. Grids are read, not mapped: pages of a map count as memory of the process, and a file that
is cut while it is mapped ends the process by a signal.
"""

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import pandas as pd
import torch

from rho2prop.core.errors import InputError
from rho2prop.core.jobs.memory import grids_bytes
from rho2prop.densities.grids import Grid

FORMAT = 1
GRIDS, ROWS, STORE = "grids.raw", "rows.csv", "store.json"
COLUMNS = ["material_id", "density_sha256", "grid_sha256"]
TORCH_TYPE = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
Item = TypeVar("Item")
Result = TypeVar("Result")
REMAKE = "Delete it and give the same command again, which writes it again"


@dataclass(frozen=True)
class StoreContent:
    """Field, sampling and precision of the grids of a store.

    Parameters
    ----------
    field
        Which field of the densities (``rho2prop.densities.fields``).
    grid
        How they were sampled.
    precision
        Of the stored values: ``fp32``, ``bf16`` or ``fp16``.
    """

    field: str
    grid: Grid
    precision: str

    @property
    def row_bytes(self) -> int:
        """Bytes of one grid."""
        return grids_bytes(1, self.grid.size, self.precision)


class GridStore:
    """A complete store, open for reading by one thread.

    Parameters
    ----------
    folder
        Folder that ``write_store`` wrote.

    Raises
    ------
    InputError
        The store is missing, incomplete or damaged.
    """

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        try:
            record = json.loads((self.folder / STORE).read_text(encoding="utf-8"))
            rows = pd.read_csv(self.folder / ROWS, dtype=str, keep_default_na=False)[COLUMNS]
            if record["format"] != FORMAT:
                raise ValueError(f"format {record['format']!r}, expected {FORMAT}")
            self.content = StoreContent(record["field"], Grid(**record["grid"]), record["precision"])
            expected_bytes = record["n_grids"] * self.content.row_bytes
            self._file = (self.folder / GRIDS).open("rb", buffering=0)
        except FileNotFoundError as error:
            raise InputError(folder, f"{Path(error.filename).name} is missing in it", REMAKE, "missing") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(folder, f"cannot be read as a store of grids ({error})", REMAKE, "damaged") from error
        n_bytes = (self.folder / GRIDS).stat().st_size
        if len(rows) != record["n_grids"] or n_bytes != expected_bytes:
            self._file.close()
            found = f"{len(rows)} rows and {n_bytes:,} bytes of grids"
            problem = f"holds {found}, expected {record['n_grids']} and {expected_bytes:,}"
            raise InputError(folder, problem, REMAKE, "truncated")
        self.material_ids = rows["material_id"].tolist()
        self.digests = rows["grid_sha256"].tolist()
        self._checked = bytearray(len(rows))

    def __enter__(self) -> "GridStore":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def require(self, content: StoreContent) -> None:
        """Raise InputError unless the grids are what is expected."""
        if self.content != content:
            problem = f"holds {self.content}, expected {content}"
            raise InputError(self.folder, problem, REMAKE, "mismatch")

    def read(self, rows: Sequence[int]) -> torch.Tensor:
        """Grids in the precision of the store, shape (B, 1, D, H, W), in pinned memory where there is a GPU.

        The digest of a grid is compared when it is read for the first time.
        """
        shape = (len(rows), 1, *(self.content.grid.size,) * 3)
        grids = torch.empty(shape, dtype=TORCH_TYPE[self.content.precision], pin_memory=torch.cuda.is_available())
        for grid, row in zip(grids, rows, strict=True):
            stored = memoryview(grid.view(-1).view(torch.uint8).numpy())
            self._file.seek(int(row) * self.content.row_bytes)
            n_read = 0
            while n_read < len(stored):  # network file systems may give less at a time
                n_more = self._file.readinto(stored[n_read:])
                if not n_more:
                    raise InputError(self.folder, f"{GRIDS} ends within row {row}", REMAKE, "truncated")
                n_read += n_more
            if not self._checked[row]:
                if hashlib.sha256(stored).hexdigest() != self.digests[row]:
                    problem = f"the grid of {self.material_ids[row]} is not what was written (SHA-256)"
                    raise InputError(self.folder, problem, REMAKE, "damaged")
                self._checked[row] = True
        return grids


@dataclass(frozen=True)
class StoredGrids:
    """Some of the grids of a store, such as those of the training part."""

    store: GridStore
    rows: Sequence[int]

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, indices: Iterable[int]) -> torch.Tensor:
        """Grids by their index among these, shape (B, 1, D, H, W)."""
        return self.store.read([self.rows[index] for index in indices])


def prefetched(
    make: Callable[[Item], Result], items: Iterable[Item], threads: int = 1, ahead: int = 2
) -> Iterator[Result]:
    """Results of ``make`` in the order of ``items``, made in the background, at most ``ahead`` before they are used."""
    with ThreadPoolExecutor(threads, "prefetch") as pool:
        waiting: deque = deque()
        for item in items:
            waiting.append(pool.submit(make, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def store_record(content: StoreContent, n_grids: int, code: str) -> dict:
    """Content of ``store.json``."""
    return {"format": FORMAT, **asdict(content), "n_grids": n_grids, "code": code}
