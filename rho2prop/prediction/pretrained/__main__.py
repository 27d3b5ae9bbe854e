"""Replace the shipped models by those of a finished run: ``python -m rho2prop.prediction.pretrained RUN``."""

import shutil
import sys
from pathlib import Path

from rho2prop.core.atomic_files import atomic
from rho2prop.core.errors import InputError
from rho2prop.core.packages import require
from rho2prop.prediction.bundle.reader import load_bundle
from rho2prop.prediction.pretrained import SHIPPED


def write_pretrained(run: Path | str, shipped: Path = SHIPPED) -> None:
    """Copy the model bundle of a run into the package, in place of the one that is there.

    Parameters
    ----------
    run
        Folder of the run, which holds ``results/models``.
    shipped
        Folder that is replaced.

    Raises
    ------
    InputError
        The bundle is incomplete or damaged, or its models do not give the predictions that they gave when they were
        written. The shipped one stays then.
    """
    source = Path(run) / "results" / "models"
    require("torch", "train", f"checking the models of {source}")
    load_bundle(source).load()
    with atomic(shipped) as temporary:
        shutil.copytree(source, temporary, ignore=shutil.ignore_patterns(".*"))


if __name__ == "__main__":
    try:
        write_pretrained(sys.argv[1] if len(sys.argv) > 1 else "runs/bench")
    except InputError as error:
        sys.exit(f"pretrained: {error}")
    print(f"pretrained: {SHIPPED}")
