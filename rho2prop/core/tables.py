"""Write CSV tables."""

from pathlib import Path

import pandas as pd

from rho2prop.core.atomic_files import atomic


def write_table(frame: pd.DataFrame, path: Path | str, index: bool = False) -> None:
    """Write a CSV file whole or not at all."""
    with atomic(path) as temporary:
        frame.to_csv(temporary, index=index)


def join_tables(paths: list[str], columns: list[str], path: Path | str) -> None:
    """Write the rows of several tables that have these columns as one table."""
    frames = [pd.read_csv(source, dtype=str, keep_default_na=False)[columns] for source in paths]
    write_table(pd.concat([pd.DataFrame(columns=columns), *frames]), path)
