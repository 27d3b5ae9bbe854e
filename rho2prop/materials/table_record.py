"""The checked materials table as the jobs of a run read it, instead of checking every row again in each job.

The Snakefile imports this module: nothing heavy at the top.
"""

import json
from dataclasses import astuple
from pathlib import Path

from rho2prop.core.atomic_files import atomic
from rho2prop.materials.table import Material

RECORD = Path(".snakemake/rho2prop/checked_table.json")


def write_table_record(materials: dict[str, Material], key: list, folder: Path | str = ".") -> None:
    """Record the checked table of the run in ``folder``.

    Parameters
    ----------
    materials
        Of ``rho2prop.materials.table.read_table``.
    key
        All that they follow from: digest of the table and settings.
    folder
        Folder of the run.
    """
    content = {"key": key, "materials": [astuple(material) for material in materials.values()]}
    with atomic(Path(folder) / RECORD) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")


def read_table_record(key: list, folder: Path | str = ".") -> dict[str, Material] | None:
    """The materials that were recorded for this key, or None: then the table itself must be read."""
    try:
        content = json.loads((Path(folder) / RECORD).read_text(encoding="utf-8"))
        if content["key"] != key:
            return None
        return {row[0]: Material(*row) for row in content["materials"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None
