"""The temporary folder of an app, and removal of those left by killed apps."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

PREFIX = "rho2prop-app-"


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder of mode 700 that is gone at the end; its name tells which process it belongs to.

    Before it is made, what killed apps of this user left is removed.
    """
    remove_leftovers()
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers() -> None:
    """Remove folders left by killed apps of this user; links are not followed."""
    with os.scandir(tempfile.gettempdir()) as entries:
        left = [Path(entry.path) for entry in entries if entry.name.startswith(PREFIX) and _is_leftover(entry)]
    for folder in left:
        shutil.rmtree(folder, ignore_errors=True)


def _is_leftover(entry: os.DirEntry) -> bool:
    pid = entry.name.removeprefix(PREFIX).split("-")[0]
    if not (pid.isascii() and pid.isdigit()) or not entry.is_dir(follow_symlinks=False):
        return False
    about = entry.stat(follow_symlinks=False)
    is_mine = not hasattr(os, "getuid") or about.st_uid == os.getuid()  # Windows: each user has an own folder
    return is_mine and not _owns(int(pid), about.st_mtime)


def _owns(pid: int, changed_s: float) -> bool:
    """Whether the process that made a folder, last changed at ``changed_s``, is alive."""
    try:
        # A process that began later only has the number of the one that made the folder.
        return pid == os.getpid() or psutil.Process(pid).create_time() <= changed_s + 1.0
    except (psutil.NoSuchProcess, OverflowError, ValueError):
        return False
    except psutil.Error:  # it lives, but is somebody else's
        return True
