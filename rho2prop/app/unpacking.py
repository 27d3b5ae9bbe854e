"""Decompression of untrusted files to disk, within a limit."""

import zipfile
from collections.abc import Callable
from pathlib import Path

from rho2prop.app.settings import in_mb, safe_name
from rho2prop.core.archive_check import check_archive
from rho2prop.core.errors import InputError
from rho2prop.core.file_content import FIX_CUT, OPENERS

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
        raise InputError(path.name, "is empty", "Give the complete density file")
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
    if path.suffix.lower() == ".npz" and zipfile.is_zipfile(path):  # else the reader of the format says what is wrong
        check_archive(path, max_bytes)
    return path


def _copy(opener: Callable, path: Path, target: Path, max_bytes: int, progress: Callable[[str], None]) -> None:
    written = shown = 0
    with opener(path, "rb") as source, open(target, "wb") as out:
        while True:
            try:
                chunk = source.read(CHUNK_BYTES)
            except Exception as error:  # gzip, bz2 and lzma each raise their own, zlib's among them
                raise InputError(path.name, f"cannot be decompressed ({error})", FIX_CUT) from error
            if not chunk:
                return
            written += len(chunk)
            if written > max_bytes:
                raise _too_large(path.name, max_bytes)
            out.write(chunk)
            if written - shown > 50 * CHUNK_BYTES:
                shown = written
                progress(f"Decompressing: {in_mb(written)}")


def _too_large(name: str, max_bytes: int) -> InputError:
    problem = f"is larger than {in_mb(max_bytes)} when decompressed, the limit of this app"
    return InputError(name, problem, "Use `rho2prop predict` on the command line, or raise --max-upload-mb")
