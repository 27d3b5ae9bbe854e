"""What a folder must be to count as a model bundle: manifest, files and their checksums, definition of features."""

import hashlib
import json
from pathlib import Path, PurePosixPath

import numpy as np

from rho2prop.errors import InputError
from rho2prop.targets import TARGETS

FORMAT, VERSION = "rho2prop model bundle", 4
MANIFEST = "manifest.json"
SUFFIXES = (".json", ".csv", ".npz", ".txt", ".safetensors")  # of all files; none of these formats can run code
ENCODER, DECODER = "autoencoder/encoder.safetensors", "autoencoder/decoder.safetensors"
INTERVALS, TRAINING_SPACE, MAGPIE = "intervals.npz", "training_space.npz", "magpie.npz"
PARTS = (ENCODER, DECODER, INTERVALS, TRAINING_SPACE, MAGPIE)
MEND_WHOLE = "Copy the whole bundle again, or write it anew with the rule write_bundle"
_KEYS = {
    "format_version": int,
    "code_version": str,
    "config": dict,
    "grid": dict,
    "density": dict,
    "targets": dict,
    "features": dict,
    "autoencoder": dict,
    "regressors": list,
    "intervals": dict,
    "training": dict,
    "files": dict,
}
_INNER_KEYS = {
    "density": ("kind", "engine"),
    "grid": ("kind", "size", "voxel_ang"),
    "autoencoder": ("network", "latent_shape"),
    "intervals": ("coverage", "calibrations"),
}


def read_manifest(folder: Path) -> dict:
    """The manifest of a bundle whose files are all there and as they were written.

    Raises
    ------
    InputError
        If it is not a bundle, was written by a newer version, is incomplete, or a file differs from its checksum.
    """
    path = folder / MANIFEST
    if not path.is_file():
        mend = "Name the folder of a bundle with --bundle or RHO2PROP_BUNDLE; the rule write_bundle makes one"
        raise InputError(folder, f"is no model bundle (it has no {MANIFEST})", mend)
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(path, f"cannot be read as JSON ({error})", MEND_WHOLE) from error
    _check_manifest(manifest, path)
    for name, record in manifest["files"].items():
        _check_file(folder, name, record, path)
    parts = [f"{record['folder']}/fold.json" for record in manifest["regressors"]]
    absent = [name for name in (*PARTS, *parts) if name not in manifest["files"]]
    if absent:
        raise InputError(path, f"does not list {absent[0]!r}", MEND_WHOLE)
    _check_fingerprint(manifest, path)
    return manifest


def fingerprint_definition() -> dict:
    """The numbers that the density fingerprint is defined by; a bundle is valid for these only."""
    from rho2prop import field_statistics as definition

    names = ("DENSITY_FLOOR", "QUANTILES", "LOG_DENSITY_BINS", "LOG_GRADIENT_BINS", "SHELLS_PER_ANG", "POWER_FLOOR")
    return {name.lower(): np.asarray(getattr(definition, name)).tolist() for name in names}


def _check_manifest(manifest: dict, path: Path) -> None:
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(path, f"does not say that it is a {FORMAT}", "Name the folder of a model bundle")
    version = manifest.get("format_version")
    if isinstance(version, int) and version > VERSION:
        problem = f"has format version {version}, this program reads up to {VERSION}"
        raise InputError(path, problem, f"Install rho2prop {manifest.get('code_version')} or newer")
    for key, kind in _KEYS.items():
        if not isinstance(manifest.get(key), kind):
            raise InputError(path, f"its key {key!r} is missing or no {kind.__name__}", MEND_WHOLE)
    absent = [f"{key}.{inner}" for key, names in _INNER_KEYS.items() for inner in names if inner not in manifest[key]]
    if absent:
        raise InputError(path, f"its key {absent[0]!r} is missing", MEND_WHOLE)
    if version != VERSION:
        mend = "Write it again with this program (rule write_bundle): features are made otherwise since"
        raise InputError(path, f"has format version {version}, expected {VERSION}", mend)
    unknown = [target for target in manifest["targets"] if target not in TARGETS]
    if unknown:
        raise InputError(path, f"predicts {unknown[0]!r}, which this program does not know", MEND_WHOLE)


def _check_file(folder: Path, name: str, record: dict, manifest: Path) -> None:
    inside = PurePosixPath(name)
    if inside.is_absolute() or ".." in inside.parts or inside.suffix not in SUFFIXES:
        problem = f"lists the file {name!r}, expected files inside the bundle that end in {', '.join(SUFFIXES)}"
        raise InputError(manifest, problem, MEND_WHOLE)
    path = folder / name
    if not path.is_file():
        raise InputError(path, "is missing from the bundle", MEND_WHOLE)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != record.get("sha256"):
        problem = f"differs from what was written (SHA-256 {found[:12]}…, expected {str(record.get('sha256'))[:12]}…)"
        raise InputError(path, problem, MEND_WHOLE)


def _check_fingerprint(manifest: dict, path: Path) -> None:
    wanted = manifest["features"].get("fingerprint", {}).get("definition", {})
    differing = [name for name, value in fingerprint_definition().items() if not _same(wanted.get(name), value)]
    if differing:
        problem = f"its density fingerprint has another {differing[0]} than this program computes"
        raise InputError(path, problem, f"Use rho2prop {manifest['code_version']}, or train again")


def _same(found, expected) -> bool:
    found, expected = np.asarray(found), np.asarray(expected)
    same_form = found.dtype.kind in "fi" and found.shape == expected.shape
    return same_form and bool(np.allclose(found, expected, rtol=1e-12, atol=0))
