"""Files of feature blocks."""

from pathlib import Path

import pandas as pd

from rho2prop.core.tables import write_table
from rho2prop.features.design_matrix import BlockData, read_blocks
from rho2prop.features.registry import GRAPH


def block_data(files: list[str]) -> BlockData:
    """Feature blocks by file: ``<block>.csv`` tables, ``graph.npz`` and ``<scope>.npz`` latents."""
    paths = [Path(file) for file in files]
    arrays = {path.stem: path for path in paths if path.suffix == ".npz"}
    graphs = arrays.pop(GRAPH, None)
    return read_blocks({path.stem: path for path in paths if path.suffix == ".csv"}, arrays, graphs)


def write_block(frame: pd.DataFrame, path: Path | str) -> None:
    """Write a feature block: ``material_id`` and one column per feature."""
    write_table(frame.rename_axis("material_id"), path, index=True)
