"""Trained models shipped with the package, one version of each, and the choice of the bundle to use.

`make pretrained` replaces them by those of a finished run.
"""

import os
from importlib.resources import files
from pathlib import Path

VARIABLE = "RHO2PROP_BUNDLE"
SHIPPED = Path(str(files(__name__))) / "bench"


def find_bundle(given: str | os.PathLike | None = None) -> Path:
    """Folder of the bundle: the given one, ``RHO2PROP_BUNDLE``, that of a run in this folder, or the shipped one."""
    if given or os.environ.get(VARIABLE):
        return Path(given or os.environ[VARIABLE])
    of_this_run = Path("results/models")
    return of_this_run if (of_this_run / "manifest.json").is_file() else SHIPPED
