"""A latent in a file of its own (.npz): what ``rho2prop encode`` writes and ``rho2prop decode`` reads."""

import json
import zipfile
import zlib
from dataclasses import fields
from pathlib import Path

import numpy as np

from rho2prop.atomic import atomic
from rho2prop.errors import InputError
from rho2prop.latent_record import LatentRecord
from rho2prop.models.autoencoder import LATENT_CHANNELS

MEND = "Encode the density again"


def write_latent(record: LatentRecord, path: Path | str) -> None:
    """Write a record: one array per field, texts as texts, the grid as JSON."""
    arrays = {field.name: getattr(record, field.name) for field in fields(record)}
    arrays |= {"grid": json.dumps(record.grid), "shape": np.array(record.shape)}
    with atomic(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)


def read_latent(path: Path | str) -> LatentRecord:
    """Read and check what ``write_latent`` wrote."""
    path = Path(path)
    if not path.is_file():
        raise InputError(path, "there is no such file of a latent", "Check the path")
    names = [field.name for field in fields(LatentRecord)]
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in names if name not in archive]
            if missing:
                mend = "Give a file that `rho2prop encode` wrote, or a database with --id"
                raise InputError(path, f"is no latent (it lacks {', '.join(missing)})", mend)
            arrays = {name: archive[name] for name in names}
        record = LatentRecord(
            material_id=str(arrays["material_id"]),
            formula=str(arrays["formula"]),
            latent=arrays["latent"],
            lattice=arrays["lattice"].astype(float),
            numbers=arrays["numbers"].astype(int),
            frac_coords=arrays["frac_coords"].astype(float),
            n_electrons=float(arrays["n_electrons"]),
            shape=tuple(int(n) for n in arrays["shape"]),
            kind=str(arrays["kind"]),
            engine=str(arrays["engine"]),
            grid=json.loads(str(arrays["grid"])),
            autoencoder_sha256=str(arrays["autoencoder_sha256"]),
        )
    except InputError:
        raise
    except (OSError, EOFError, ValueError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(path, f"cannot be read as a latent ({type(error).__name__}: {error})", MEND) from error
    _check(record, path)
    return record


def _check(record: LatentRecord, path: Path) -> None:
    shape, n_atoms = record.latent.shape, record.numbers.size
    sound = {
        f"latent {shape}": len(shape) == 4 and shape[0] == LATENT_CHANNELS and len(set(shape[1:])) == 1,
        f"lattice {record.lattice.shape}": record.lattice.shape == (3, 3),
        f"frac_coords {record.frac_coords.shape}": record.frac_coords.shape == (n_atoms, 3) and n_atoms > 0,
        f"shape {record.shape}": len(record.shape) == 3 and min(record.shape) > 0,
        "values that are not finite": all(
            np.isfinite(values).all() for values in (record.latent, record.lattice, record.frac_coords)
        ),
        f"n_electrons {record.n_electrons}": np.isfinite(record.n_electrons) and record.n_electrons > 0,
    }
    wrong = [what for what, is_sound in sound.items() if not is_sound]
    if wrong:
        raise InputError(path, f"holds {wrong[0]}, which no latent has", MEND)
