"""A latent in a file of its own (.npz): what ``rho2prop encode`` writes and ``rho2prop decode`` reads."""

import json
import zipfile
import zlib
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np

from rho2prop.autoencoder.latent_record import LatentRecord, check_record
from rho2prop.core.archive_check import check_archive
from rho2prop.core.atomic_files import atomic
from rho2prop.core.errors import InputError
from rho2prop.densities.grids import Grid

READ_ERRORS = (
    OSError, EOFError, ValueError, TypeError, AttributeError, ArithmeticError, RecursionError, RuntimeError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
FIX = "Encode the density again"
MOST_BYTES = 64 << 20  # a latent of a cube of 512 points has 8 MB


def write_latent(record: LatentRecord, path: Path | str) -> None:
    """Write a record: one array per field, texts as texts, the grid as JSON."""
    arrays = {field.name: getattr(record, field.name) for field in fields(record)}
    arrays |= {"grid": json.dumps(asdict(record.grid)), "shape": np.array(record.shape)}
    with atomic(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)


def read_latent(path: Path | str) -> LatentRecord:
    """Read and check what ``write_latent`` wrote."""
    path = Path(path)
    if not path.is_file():
        raise InputError(path, "does not exist", "Check the path")
    names = [field.name for field in fields(LatentRecord)]
    if zipfile.is_zipfile(path):
        check_archive(path, MOST_BYTES)
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in names if name not in archive]
            if missing:
                fix = "Give a file that `rho2prop encode` wrote, or a database with --id"
                raise InputError(path, f"is not a latent (it lacks {', '.join(missing)})", fix)
            arrays = {name: archive[name] for name in names}
        nx, ny, nz = (int(n) for n in arrays["shape"])
        record = LatentRecord(
            material_id=str(arrays["material_id"]),
            formula=str(arrays["formula"]),
            latent=arrays["latent"],
            lattice=arrays["lattice"].astype(float),
            numbers=arrays["numbers"].astype(int),
            frac_coords=arrays["frac_coords"].astype(float),
            n_electrons=float(arrays["n_electrons"]),
            shape=(nx, ny, nz),
            kind=str(arrays["kind"]),
            engine=str(arrays["engine"]),
            grid=Grid(**json.loads(str(arrays["grid"]))),
            autoencoder_sha256=str(arrays["autoencoder_sha256"]),
        )
    except InputError:
        raise
    except READ_ERRORS as error:
        raise InputError(path, f"cannot be read as a latent ({type(error).__name__}: {error})", FIX) from error
    check_record(record, path)
    return record
