"""Write result files whole or not at all, also through links and into devices and pipes."""

import errno
import glob
import os
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from rho2prop.core.errors import InputError

STANDARD_OUTPUT = "/dev/stdout"
_DESCRIPTORS = {"/dev/stdin": 0, STANDARD_OUTPUT: 1, "/dev/stderr": 2}
_MOST_LINKS = 40  # as Linux follows
_unfinished: set[Path] = set()  # temporaries of this process


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it to ``path`` on success, remove it on any error.

    The temporary name keeps the suffixes, so that writers that choose a format by suffix still work. It may become a
    file or a folder. What a killed process on this machine left of the same ``path`` is removed first. A symbolic link
    is followed: its target is replaced, not the link. Into a device, a pipe or an open file of this process
    (``/dev/stdout``) the finished content is copied.
    """
    path = Path(path)
    descriptor = _descriptor(path)
    if descriptor is not None or _is_device_or_pipe(path):
        with temporary_folder() as folder:
            yield folder / path.name
            _copy_into(folder / path.name, path, descriptor)
        return
    path = _target(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    temporary = path.with_name(f".partial-{socket.gethostname()}-{os.getpid()}-{path.name}")
    _unfinished.add(temporary)
    try:
        yield temporary
        if temporary.is_dir() and path.is_dir():
            shutil.rmtree(path)
        elif path.is_file() and temporary.is_file():
            shutil.copymode(path, temporary)  # a private file stays private
        os.replace(temporary, path)
    finally:
        _remove(temporary)
        _unfinished.discard(temporary)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that is removed at the end of the block, or by ``remove_unfinished``."""
    folder = Path(tempfile.mkdtemp(prefix="rho2prop-"))
    _unfinished.add(folder)
    try:
        yield folder
    finally:
        _remove(folder)
        _unfinished.discard(folder)


def remove_unfinished() -> None:
    """Remove all temporaries of this process, for a signal that ends it."""
    for path in list(_unfinished):
        _remove(path)


def check_output(path: Path | str, inputs: tuple[Path | str, ...] = ()) -> None:
    """Raise InputError, before anything is computed, for an output file that cannot be written.

    Parameters
    ----------
    path
        File, link, device or pipe.
    inputs
        Files that the output must not overwrite.

    Raises
    ------
    InputError
        If ``path`` is a folder, an input, a link without end, or lies where nothing can be written.
    """
    name, path = str(path), Path(path)
    if _descriptor(path) is not None or _is_device_or_pipe(path):
        return
    try:
        target = _target(path)
    except OSError as error:
        raise InputError(
            name, f"cannot be written ({error.strerror})", "Remove the link or name a file", code="link"
        ) from error
    if target.is_dir() or name.endswith(("/", os.sep)):
        raise InputError(name, "is a folder, expected a file to write", "Add a file name", code="folder")
    if target.exists():
        if any(os.path.exists(file) and os.path.samefile(file, target) for file in inputs):
            raise InputError(
                name, "is also an input, which would be lost", "Give the output another name", code="input"
            )
        if not os.access(target, os.W_OK):
            raise InputError(
                name, "is write-protected", "Change its permissions or give the output another name", code="permission"
            )
    _check_parent(name, target)


def check_folder(path: Path | str) -> None:
    """Raise InputError for a result folder that cannot be created or replaced."""
    if Path(path).exists() and not Path(path).is_dir():
        raise InputError(path, "is a file, expected a folder", "Give another path")
    _check_parent(str(path), _target(Path(path)))


def _check_parent(name: str, target: Path) -> None:
    folder = next(parent for parent in target.parents if parent.exists())
    if not folder.is_dir():
        raise InputError(
            name, f"cannot be written: {folder} is a file, not a folder", "Give another path", code="not_a_folder"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(
            name, f"cannot be written: no permission to write in {folder}", "Give another folder", code="permission"
        )


def _target(path: Path) -> Path:
    """The path itself or the final target of a link."""
    if not path.is_symlink():
        return path
    for _ in range(_MOST_LINKS):
        path = path.parent / path.readlink()
        if not path.is_symlink():
            return path
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


def _descriptor(path: Path) -> int | None:
    """Number of the open file of this process that the path stands for, as ``/dev/stdout`` does."""
    for _ in range(_MOST_LINKS):
        if path.as_posix() in _DESCRIPTORS:
            return _DESCRIPTORS[path.as_posix()]
        folder = os.path.realpath(path.parent)
        if folder in ("/dev/fd", f"/proc/{os.getpid()}/fd") and path.name.isdigit():
            return int(path.name)
        if not path.is_symlink():
            break
        path = path.parent / path.readlink()
    return None


def _is_device_or_pipe(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _copy_into(file: Path, path: Path, descriptor: int | None) -> None:
    """Copy a finished file into an open file of this process, whose position advances, or into a device or pipe."""
    if descriptor is not None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    # never created: what was a device must not become a file
    target = os.dup(descriptor) if descriptor is not None else os.open(path, os.O_WRONLY)
    with open(target, "wb") as out, open(file, "rb") as content:
        shutil.copyfileobj(content, out)


def _remove_leftovers(path: Path) -> None:
    host = socket.gethostname()
    for leftover in path.parent.glob(f".partial-{glob.escape(host)}-*-{glob.escape(path.name)}"):
        pid = leftover.name.removeprefix(f".partial-{host}-").removesuffix(f"-{path.name}")
        if pid.isdigit() and int(pid) != os.getpid() and not psutil.pid_exists(int(pid)):
            _remove(leftover)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
