"""Write and update the workflow's latent database, and measure its size and errors."""

import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from rho2prop.autoencoder.decoding import Decoder, decode_with_factor, load_decoder, sampled_back
from rho2prop.autoencoder.encoding import read_latents
from rho2prop.autoencoder.latent_database import LatentDatabase
from rho2prop.autoencoder.latent_record import LatentRecord, make_record
from rho2prop.autoencoder.training import read_parts
from rho2prop.core.archive_check import array_header
from rho2prop.core.atomic_files import atomic
from rho2prop.core.errors import InputError
from rho2prop.densities.chgcar_writer import chgcar_bytes
from rho2prop.densities.density import read_npz

NEW = "new"  # part of a material that no autoencoder was trained, validated or tested with
CRYSTAL_KEYS = ("lattice", "numbers", "frac_coords", "n_electrons", "kind", "engine")
COLUMNS = [
    "material_id", "formula", "part", "grid_points", "bytes_database", "bytes_chgcar", "nmae",
    "nmae_window", "electron_factor", "reason"
]  # fmt: skip


def write_database(
    path: Path | str, latents: list[Path | str], densities: dict[str, Path], autoencoder: Path | str
) -> None:
    """Write or update the database of a run, whole or not at all.

    Parameters
    ----------
    path
        Database. If it exists, materials whose latent and crystal are the same are kept as they are (of their
        density files all but the density is read), those that are no longer in ``latents`` are removed.
    latents
        Files of ``write_latents``, all from ``autoencoder``.
    densities
        Material id to density file; every material of ``latents`` must be there.
    autoencoder
        Folder of the autoencoder.
    """
    decoder = load_decoder(autoencoder)
    given: dict[str, np.ndarray] = {}
    for file in latents:
        arrays = read_latents(file)
        given |= dict(zip(arrays["material_ids"].tolist(), arrays["latents"], strict=True))
    missing = sorted(set(given) - set(densities))
    if missing:
        raise InputError(latents[0], f"there is no density of {missing[0]!r}", "Give the densities of all latents")
    with atomic(path) as temporary:
        if Path(path).is_file() and _is_usable(path):
            shutil.copyfile(path, temporary)
        with LatentDatabase(temporary, writable=True) as database:
            database.remove(set(database.material_ids()) - set(given))
            changed = [name for name in given if not _is_kept(database, name, given[name], densities[name], decoder)]
            database.append(_records(changed, given, densities, decoder))


def _is_usable(path: Path | str) -> bool:
    try:
        with LatentDatabase(path):
            return True
    except InputError as error:
        print(f"{error} It is written again.", file=sys.stderr)
        return False


def _is_kept(database: LatentDatabase, name: str, latent: np.ndarray, density: Path, decoder: Decoder) -> bool:
    if name not in database:
        return False
    record = database.get(name)
    same_network = record.autoencoder_sha256 == decoder.sha256 and record.grid == decoder.grid
    return same_network and np.array_equal(record.latent, latent.astype(np.float16)) and _describes(record, density)


def _describes(record: LatentRecord, path: Path) -> bool:
    """Whether the crystal, grid and origin of a record are still those of its density file."""
    try:
        with np.load(path, allow_pickle=False) as archive:  # members are decompressed one by one, when asked for
            arrays = {name: archive[name] for name in CRYSTAL_KEYS}
            with archive.zip.open("density.npy") as member:
                shape, _ = array_header(member)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return False  # reading it whole will say why
    same = (np.array_equal(getattr(record, name), arrays[name]) for name in CRYSTAL_KEYS)
    return tuple(shape) == tuple(record.shape) and all(same)


def _records(
    names: list[str], latents: dict[str, np.ndarray], densities: dict[str, Path], decoder: Decoder
) -> Iterator[LatentRecord]:
    for name in tqdm(names, desc="latent database", unit="material"):
        yield make_record(name, read_npz(densities[name]), latents[name], decoder.grid, decoder.sha256)


def evaluate_database(path: Path | str, densities: dict[str, Path], autoencoder: Path | str) -> pd.DataFrame:
    """Size of the database against CHGCARs, and the errors of what it decodes to.

    Parameters
    ----------
    path
        Database of a run.
    densities
        Material id to density file.
    autoencoder
        Folder of the autoencoder.

    Returns
    -------
    pandas.DataFrame
        One row per material. ``bytes_database``: file size divided by the number of materials; ``bytes_chgcar``: of
        the CHGCAR of its native grid; ``nmae``: Σ|ρ−ρ̂| / Σρ over the native grid after decoding;
        ``nmae_window``: the same for the sampling alone, without the network; ``electron_factor``: what the
        decoded density was multiplied with. Errors are measured on materials that had no part in the
        autoencoder (``part``: test, new) and blank for the others; ``reason``: why a material cannot be decoded.
    """
    decoder, parts, rows = load_decoder(autoencoder), read_parts(autoencoder), []
    with LatentDatabase(path) as database:
        bytes_each = Path(path).stat().st_size / max(len(database), 1)
        for name in tqdm(database.material_ids(), desc="decoding", unit="material"):
            record = database.get(name)
            row = {
                "material_id": name,
                "formula": record.formula,
                "part": parts.get(name, NEW),
                "grid_points": int(np.prod(record.shape)),
                "bytes_database": round(bytes_each),
                "bytes_chgcar": chgcar_bytes(record, record.shape),
            }
            if row["part"] not in ("train", "validation"):
                row |= _errors(decoder, record, densities[name])
            rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def _errors(decoder: Decoder, record: LatentRecord, path: Path) -> dict:
    density = read_npz(path)
    try:
        decoded, factor = decode_with_factor(decoder, record)
        sampled = sampled_back(density, record.grid, f"latent of {record.material_id}")
    except InputError as error:
        return {"reason": error.problem}
    return {
        "nmae": _nmae(decoded.values, density.values),
        "nmae_window": _nmae(sampled, density.values),
        "electron_factor": factor,
    }


def _nmae(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected.astype(np.float64)).sum() / np.abs(expected).sum(dtype=np.float64))
