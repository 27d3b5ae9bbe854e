"""Feature tables of crystals by block, from the functions in the registry."""

from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from rho2prop.densities.crystal_description import CrystalDescription
from rho2prop.densities.density import read_npz
from rho2prop.densities.stored_structure import stored_structure
from rho2prop.features.registry import BLOCKS, TABLE, Block


def describe(crystal: CrystalDescription, name: str, blocks: Iterable[str]) -> dict[str, pd.DataFrame]:
    """Tables with one row, index ``name``, of those of ``blocks`` that are tables, in the order of the registry.

    Raises
    ------
    InputError
        A block needs the promolecule, which is missing.
    """
    wanted = set(blocks)
    makers = {block.name: block.maker() for block in BLOCKS.values() if block.form == TABLE and block.name in wanted}
    return {block: table({name: make(crystal)}) for block, make in makers.items()}


def block_tables(paths: list[tuple[str, Path]], blocks: Iterable[str], processes: int = 1) -> dict[str, pd.DataFrame]:
    """Tables of some blocks for many materials; each density is read once, if at all, and then released.

    Parameters
    ----------
    paths
        Material ids with their density files.
    blocks
        Names of blocks that are tables.
    processes
        Processes that share the materials.

    Returns
    -------
    dict
        Block to table: index ``material_id`` in the order of ``paths``, one column per feature.
    """
    chosen = [BLOCKS[name] for name in blocks]
    work = partial(_rows_of_file, chosen)
    files = [path for _, path in paths]
    progress = partial(tqdm, total=len(files), desc=", ".join(block.name for block in chosen), unit="material")
    if processes == 1:
        rows = list(progress(map(work, files)))
    else:
        with ProcessPoolExecutor(processes) as pool:
            rows = list(progress(pool.map(work, files, chunksize=4)))
    names = [name for name, _ in paths]
    return {
        block.name: table({name: row[block.name] for name, row in zip(names, rows, strict=True)}) for block in chosen
    }


def table(rows: dict[str, dict[str, float]]) -> pd.DataFrame:
    """Rows by material as a table with the index ``material_id``."""
    return pd.DataFrame.from_dict(rows, orient="index", dtype=float).rename_axis("material_id")


def described(path: Path, blocks: Iterable[Block]) -> CrystalDescription:
    """Crystal of a density file; the density itself is read only if one of the blocks is made from it."""
    if any(block.needs_field for block in blocks):
        return CrystalDescription(read_npz(path), path)
    return CrystalDescription.of_structure(stored_structure(path), path)


def _rows_of_file(blocks: list[Block], path: Path) -> dict[str, dict[str, float]]:
    crystal = described(path, blocks)
    return {block.name: block.maker()(crystal) for block in blocks}
