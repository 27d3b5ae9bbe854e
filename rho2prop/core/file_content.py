"""Read a user's file, decompressed within bounds."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rho2prop.core.errors import InputError

OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
MAGIC = {".gz": b"\x1f\x8b", ".bz2": b"BZh", ".xz": b"\xfd7zXZ\x00"}
OTHER_FORMATS = {
    b"PK\x03\x04": ("is a zip archive", "Unpack it and give the file inside (an .npz file must be named .npz)"),
    b"\x28\xb5\x2f\xfd": ("is compressed with zstd", "Unpack it first"),
    b"\x89HDF": ("is an HDF5 file", "Export the density as CHGCAR or cube"),
    b"\x1f\x9d": ("is compressed with compress", "Unpack it first"),
    b"\x5d\x00\x00": ("is compressed with lzma", "Unpack it first"),
    b"version https://git-lfs": ("is a pointer of Git LFS", "Fetch the file itself: git lfs pull"),
    b"<!DOCTYPE": ("is a web page", "Download the file itself"),
    b"<!doctype": ("is a web page", "Download the file itself"),
    b"<html": ("is a web page", "Download the file itself"),
    b"<?xml": ("is XML", "Give the density or structure itself, such as a CHGCAR or POSCAR"),
    b"\xff\xfe": ("is UTF-16 text", "Save it as plain text (ASCII or UTF-8)"),
    b"\xfe\xff": ("is UTF-16 text", "Save it as plain text (ASCII or UTF-8)"),
}
START_BYTES = 32  # tell the format
CHUNK_BYTES = 1 << 20
LARGEST_BYTES = 4 << 30  # a grid of 500³ points with its spin density
LARGEST_RATIO = 200  # of decompressed to compressed size; densities reach about 10
ALWAYS_ALLOWED_BYTES = 64 << 20
FIX_CUT = "The file may be cut off or damaged: copy it again, or compute it again"


def bare_name(path: Path) -> str:
    """Name of a file without the ending of its compression."""
    return path.stem if path.suffix.lower() in OPENERS else path.name


def read_content(path: Path) -> bytes:
    """All bytes of a text file, decompressed if its name ends in .gz, .bz2 or .xz.

    Raises
    ------
    InputError
        It cannot be decompressed, its content is not what its ending says, or it would take more than 4 GiB, or more
        than 200 times its compressed size (64 MiB are always allowed).
    """
    suffix, n_bytes = path.suffix.lower(), path.stat().st_size
    with open(path, "rb") as file:
        start = file.read(START_BYTES)
    _check_magic(path, start)
    limit = largest_content(n_bytes, LARGEST_BYTES)
    try:
        if suffix not in OPENERS:
            if n_bytes > LARGEST_BYTES:
                raise _too_large(path, n_bytes, LARGEST_BYTES)
            return path.read_bytes()
        pieces, total = [], 0
        with OPENERS[suffix](path, "rb") as file:
            while piece := file.read(CHUNK_BYTES):
                total += len(piece)
                if total > limit:
                    raise _too_large(path, n_bytes, limit)
                pieces.append(piece)
        content = b"".join(pieces)
        _check_start(path, content[:START_BYTES], "holds a file that ", f"Unpack {path.name} and give what it holds")
        return content
    except InputError:
        raise
    except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
        raise InputError(path, f"cannot be read ({error})", FIX_CUT, code="unreadable") from error


def largest_content(n_bytes: int, most_bytes: int) -> int:
    """Bytes that a file of ``n_bytes`` may hold once it is decompressed, at most ``most_bytes``."""
    return min(most_bytes, max(ALWAYS_ALLOWED_BYTES, LARGEST_RATIO * n_bytes))


def _too_large(path: Path, n_bytes: int, limit: int) -> InputError:
    problem = f"holds more than {limit >> 20:,} MiB ({n_bytes:,} bytes on disk)"
    return InputError(path, problem, "Give the density of one material on its engine's own grid", code="too_large")


def _check_magic(path: Path, start: bytes) -> None:
    """Raise InputError if the first bytes of a text file are those of another format, or not those of its ending."""
    suffix = path.suffix.lower()
    if suffix in MAGIC:
        if start and not start.startswith(MAGIC[suffix]):
            problem = f"is not compressed as its ending {suffix} says"
            others = [ending for ending, magic in MAGIC.items() if start.startswith(magic)]
            fix = f"If it is plain text, rename it without {suffix}"
            raise InputError(
                path, problem, f"Rename it to {path.stem}{others[0]}" if others else fix, code="compression"
            )
        return
    _check_start(path, start)


def _check_start(path: Path, start: bytes, inside: str = "", fix_inside: str = "") -> None:
    for ending, magic in MAGIC.items():
        if start.startswith(magic):
            problem = "is compressed twice" if inside else f"is compressed, but its name does not end in {ending}"
            raise InputError(
                path, inside + problem, fix_inside or f"Rename it to {path.name}{ending}", code="compression"
            )
    for magic, (problem, fix) in OTHER_FORMATS.items():
        if start.startswith(magic):
            raise InputError(path, inside + problem, fix_inside or fix, code="format")
    if b"\0" in start:
        raise InputError(
            path, f"{inside}is not text: it holds zero bytes", "Give a text file (ASCII or UTF-8)", code="format"
        )
