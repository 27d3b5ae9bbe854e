"""Files of strangers made safe to read: decompressed to disk and measured, never more than allowed."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rho2prop.app.settings import in_mb, safe_name
from rho2prop.errors import InputError
from rho2prop.volumetric import MEND_CUT, OPENERS

CHUNK_BYTES = 1 << 20


def unpack(path: Path, folder: Path, max_bytes: int, progress: Callable[[str], None]) -> Path:
    """The file itself, or its decompressed copy in ``folder``, at most ``max_bytes`` large.

    Parameters
    ----------
    path
        Any file; ``.gz``, ``.bz2`` and ``.xz`` are decompressed.
    folder
        Where the copy goes; nothing is left of one that fails.
    max_bytes
        Most bytes after decompression.
    progress
        Called with a line on what is going on.

    Raises
    ------
    InputError
        If the file is empty, damaged or too large.
    """
    if path.stat().st_size == 0:
        raise InputError(path.name, "is empty", "Give the whole density file")
    opener = OPENERS.get(path.suffix.lower())
    if opener is not None:
        target = folder / f"unpacked-{safe_name(path.stem)}"
        try:
            _copy(opener, path, target, max_bytes, progress)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        path = target
    if path.stat().st_size > max_bytes:
        raise _too_large(path.name, max_bytes)
    if path.suffix.lower() == ".npz":
        _check_archive(path, max_bytes)
    return path


def _copy(opener: Callable, path: Path, target: Path, max_bytes: int, progress: Callable[[str], None]) -> None:
    written = shown = 0
    with opener(path, "rb") as source, open(target, "wb") as out:
        while True:
            try:
                chunk = source.read(CHUNK_BYTES)
            except Exception as error:  # gzip, bz2 and lzma each raise their own, zlib's among them
                raise InputError(path.name, f"cannot be decompressed ({error})", MEND_CUT) from error
            if not chunk:
                return
            written += len(chunk)
            if written > max_bytes:
                raise _too_large(path.name, max_bytes)
            out.write(chunk)
            if written - shown > 50 * CHUNK_BYTES:
                shown = written
                progress(f"Decompressing: {in_mb(written)}")


def _check_archive(path: Path, max_bytes: int) -> None:
    """Refuse an archive whose arrays would be larger than allowed, by its own table and by each array's header."""
    if not zipfile.is_zipfile(path):
        return  # the reader of the format says what is wrong
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > max_bytes:
                raise _too_large(path.name, max_bytes)
            for member in members:
                with archive.open(member) as file:
                    if _array_bytes(file) > max_bytes:
                        raise _too_large(path.name, max_bytes)
    except InputError:
        raise
    except Exception as error:  # damaged in any of a dozen ways
        raise InputError(path.name, f"cannot be read as .npz ({error})", "Write the density anew") from error


def _array_bytes(file) -> int:
    """Bytes that NumPy would take for an array before it looks whether the file holds as many."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    n_bytes = dtype.itemsize
    for n in shape:
        n_bytes *= n
    return n_bytes


def _too_large(name: str, max_bytes: int) -> InputError:
    problem = f"holds more than {in_mb(max_bytes)} when decompressed, which is the limit of this app"
    return InputError(name, problem, "Use `rho2prop predict` on the command line, or raise --max-upload-mb")
