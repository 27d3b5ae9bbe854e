"""Result files appear whole or not at all."""

import glob
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it to ``path`` on success, remove it on any error.

    The temporary name keeps the suffixes, so that writers which choose a format by suffix still work. It may be
    used as a file or made into a folder. What a killed process of this machine left of the same ``path`` is
    removed first.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    temporary = path.with_name(f".partial-{socket.gethostname()}-{os.getpid()}-{path.name}")
    try:
        yield temporary
        if temporary.is_dir() and path.is_dir():
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        _remove(temporary)


def _remove_leftovers(path: Path) -> None:
    host = socket.gethostname()
    for leftover in path.parent.glob(f".partial-{glob.escape(host)}-*-{glob.escape(path.name)}"):
        pid = leftover.name.removeprefix(f".partial-{host}-").removesuffix(f"-{path.name}")
        if pid.isdigit() and int(pid) != os.getpid() and not _is_alive(int(pid)):
            _remove(leftover)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's process
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
