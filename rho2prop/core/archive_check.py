"""Check the sizes of the arrays in a NumPy archive (.npz) before any of them is read."""

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from rho2prop.core.errors import InputError


def check_archive(path: Path | str, most_bytes: int) -> None:
    """Raise InputError for an archive whose arrays are larger than allowed, or than the bytes that hold them.

    NumPy allocates what an array's header claims before it looks at the size of the file.

    Parameters
    ----------
    path
        File that is known to be a zip archive.
    most_bytes
        Of all arrays together, decompressed.

    Raises
    ------
    InputError
        It is too large, an array's header claims more bytes than the file has, or it cannot be read.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > most_bytes:
                raise _too_large(path, most_bytes)
            for member in members:
                with archive.open(member) as file:
                    shape, dtype = array_header(file)
                claimed = math.prod(shape) * dtype.itemsize
                if claimed > most_bytes:
                    raise _too_large(path, most_bytes)
                if claimed > member.file_size:
                    problem = f"{member.filename} claims {claimed:,} bytes and holds {member.file_size:,}"
                    raise InputError(path, problem, "The file may be damaged: write it again")
    except InputError:
        raise
    except Exception as error:  # damaged in any of a dozen ways
        raise InputError(path, f"cannot be read as .npz ({error})", "Write the file again") from error


def array_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type that the header of an array (``.npy``) claims; the file is then positioned at its data."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype


def _too_large(path: Path, most_bytes: int) -> InputError:
    problem = f"holds more than {most_bytes / 1e6:,.1f} MB when decompressed"
    return InputError(path, problem, "Give a file of one material, on a coarser grid")
