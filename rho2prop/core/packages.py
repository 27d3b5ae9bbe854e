"""Libraries that only some tasks need: whether they are installed, and how to install them."""

import os
from importlib.util import find_spec
from pathlib import Path

from rho2prop.core.errors import InputError


def is_installed(package: str) -> bool:
    """Whether a package can be imported; it is not imported."""
    return find_spec(package) is not None


def how_to_install(extra: str) -> str:
    """The command for an extra of pyproject.toml."""
    return f'pip install "rho2prop[{extra}]"'


def require(package: str, extra: str, task: str) -> None:
    """Raise InputError with the command to type unless a package is installed."""
    if not is_installed(package):
        raise InputError(task, f"needs the package {package}, which is not installed", how_to_install(extra), "package")


def use_package_in(root: Path) -> None:
    """Let programs that this process starts import rho2prop from ``root``, even where another one is installed.

    Snakemake puts the folder of a workflow behind the installed packages in the path of its scripts.
    """
    paths = [str(root), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
