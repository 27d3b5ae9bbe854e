"""Checks of a model bundle: form of the manifest, unchanged files.

The checksums guard against accidents (a cut copy, mixed versions); whoever can change a file can change its checksum
too, so they say nothing about who made a bundle. ``rho2prop.prediction.bundle.parts`` checks what the files hold.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from rho2prop.core.errors import InputError
from rho2prop.core.jobs.provenance import digest
from rho2prop.core.targets import TARGETS
from rho2prop.crystals.element_tables import source_versions, table_digests
from rho2prop.densities.density import KINDS
from rho2prop.features.registry import BLOCKS

FORMAT, VERSION = "rho2prop model bundle", 6
MANIFEST = "manifest.json"
SUFFIXES = (".json", ".csv", ".npz", ".txt", ".safetensors")  # of all files; none of these formats can run code
ENCODER, DECODER = "autoencoder/encoder.safetensors", "autoencoder/decoder.safetensors"
INTERVALS, TRAINING_SPACE, REFERENCE = "intervals.npz", "training_space.npz", "reference.npz"
PARTS = (ENCODER, DECODER, INTERVALS, TRAINING_SPACE, REFERENCE)
FIX_WHOLE = "Copy the whole bundle again, or write it again with the rule write_bundle"
MOST_MANIFEST_BYTES = 2**25
MOST_POINTS, MOST_LATENT_POINTS, MOST_CHANNELS = 512, 128, 1024  # along an edge; of a latent
MODEL_FOLDERS = ("autoencoder", "regressors")


def is_number(value: object, low: float = -1e300, high: float = 1e300) -> bool:
    """Whether a value of JSON is a finite number in a range."""
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def is_whole(value: object, low: int, high: int) -> bool:
    """Whether a value of JSON is an integer in a range."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def is_text(value: object) -> bool:
    """Whether a value of JSON is a non-empty string."""
    return isinstance(value, str) and bool(value)


def _filled(kind: type) -> Callable:
    return lambda value: isinstance(value, kind) and bool(value)


# dotted key: what its value must be, in code and in words
MANIFEST_FIELDS = {
    "code_version": (is_text, "a text"),
    "config.dft": (_filled(dict), "the section dft of the configuration"),
    "grid.kind": (lambda value: value in ("window", "padded"), "window or padded"),
    "grid.size": (lambda value: is_whole(value, 2, MOST_POINTS), f"an integer from 2 to {MOST_POINTS}"),
    "grid.voxel_ang": (lambda value: is_number(value, 1e-3, 10), "a length from 0.001 to 10 Å"),
    "density.kind": (lambda value: value in KINDS, f"one of {', '.join(KINDS)}"),
    "density.engine": (lambda value: is_text(value) and bool(value.strip()), "program and version"),
    "targets": (_filled(dict), "a table of properties"),
    "features.blocks": (_filled(dict), "a table of feature blocks and their versions"),
    "features.element_tables": (_filled(dict), "digests of the tables of the elements"),
    "features.reference.versions": (_filled(dict), "versions of libraries"),
    "autoencoder.network.network": (lambda value: value in ("paper", "fast"), "paper or fast"),
    "autoencoder.network.grid_size": (lambda value: is_whole(value, 2, MOST_POINTS), "that of the grid"),
    "autoencoder.network.latent_size": (
        lambda value: is_whole(value, 1, MOST_LATENT_POINTS),
        f"an integer from 1 to {MOST_LATENT_POINTS}",
    ),
    "autoencoder.network.dropout": (lambda value: is_number(value, 0, 0.999), "a number from 0 to below 1"),
    "autoencoder.latent_shape": (_filled(list), "a list of four whole numbers"),
    "regressors": (_filled(list), "a list of at least one model"),
    "intervals.coverage": (lambda value: is_number(value, 1e-6, 1 - 1e-6), "a probability between 0 and 1"),
    "intervals.calibrations": (_filled(list), "a list of at least one calibration"),
    "training.n_materials": (lambda value: is_whole(value, 2, 10**9), "a whole number of at least 2"),
    "training.elements": (_filled(list), "a list of elements"),
    "files": (_filled(dict), "a table of files"),
}
REGRESSOR_FIELDS = {
    "model": (is_text, "a text"),
    "features": (is_text, "a text"),
    "blocks": (lambda value: isinstance(value, list) and all(map(is_text, value)), "a list of feature blocks"),
    "folder": (lambda value: is_text(value) and is_inside(value), "a folder inside the bundle"),
    "targets": (
        lambda value: isinstance(value, list) and bool(value) and all(map(is_text, value)),
        "a list of properties",
    ),
}
CALIBRATION_FIELDS = {
    **dict.fromkeys(("model", "features", "scores"), (is_text, "a text")),
    "target": (lambda value: isinstance(value, str) and value in TARGETS, "a known property"),
    "n": (lambda value: is_whole(value, 1, 10**9), "a whole number of at least 1"),
    "power": (lambda value: is_number(value, 0, 2), "a number from 0 to 2"),
    "offset": (lambda value: is_number(value, 1e-300), "a positive number"),
    "is_positive": (lambda value: isinstance(value, bool), "true or false"),
}
NOT_OFFERED_FIELDS = dict.fromkeys(("model", "features", "target", "reason"), (is_text, "a text"))
ATOMS_FIELDS = {
    "ecut_ev": (lambda value: is_number(value, 1, 1e5), "a cut-off in eV"),
    "xc": (is_text, "a functional"),
}
GPAW_FIELDS = {
    **ATOMS_FIELDS,
    "k_spacing_per_ang": (lambda value: is_number(value, 1e-3, 100), "a spacing in 1/Å"),
    "smearing_ev": (lambda value: is_number(value, 0, 100), "a width in eV"),
    "max_iterations": (lambda value: is_whole(value, 1, 10**6), "a whole number of at least 1"),
}
FILE_FIELDS = {
    "sha256": (lambda value: isinstance(value, str) and bool(re.fullmatch("[0-9a-f]{64}", value)), "64 hex digits"),
    "bytes": (lambda value: is_whole(value, 0, 2**33), "a number of bytes"),
}


def read_manifest(folder: Path) -> dict:
    """Read the manifest of a bundle and check that all its files are present and unchanged.

    Raises
    ------
    InputError
        If it is not a bundle, was written by another format version, is incomplete, or a file differs from its
        checksum.
    """
    path = folder / MANIFEST
    if not path.is_file():
        fix = "Give the folder of a bundle with --bundle or RHO2PROP_BUNDLE; the rule write_bundle writes one"
        raise InputError(folder, f"is not a model bundle (it has no {MANIFEST})", fix)
    manifest = read_json(path, MOST_MANIFEST_BYTES)
    _check_manifest(manifest, path)
    for name, record in manifest["files"].items():
        _check_file(folder, name, record, path)
    parts = [f"{record['folder']}/fold.json" for record in manifest["regressors"]]
    absent = [name for name in (*PARTS, *parts) if name not in manifest["files"]]
    if absent:
        raise InputError(path, f"does not list {absent[0]!r}", FIX_WHOLE)
    _refuse_unlisted(folder, manifest["files"])
    return manifest


def read_json(path: Path, most_bytes: int = 2**24) -> dict:
    """Read a JSON object without NaN or infinite numbers."""
    try:
        if path.stat().st_size > most_bytes:
            raise ValueError(f"{path.stat().st_size} bytes, expected at most {most_bytes}")
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except (ValueError, OSError, RecursionError) as error:
        raise InputError(path, f"cannot be read as JSON ({error})", FIX_WHOLE) from error
    if not isinstance(content, dict):
        raise InputError(path, "does not hold a JSON object", FIX_WHOLE)
    return content


def is_inside(name: str) -> bool:
    """Whether a path of the manifest is inside the bundle and in normal form."""
    path = PurePosixPath(name)
    return path.as_posix() == name and not path.is_absolute() and ".." not in path.parts and "\\" not in name


def check_fields(record: Any, fields: dict, place: str, path: Path) -> None:
    """Raise InputError unless the values of dotted keys are as ``fields`` requires."""
    for key, (is_right, words) in fields.items():
        value, found = record, True
        for part in key.split("."):
            found = found and isinstance(value, dict) and part in value
            value = value[part] if found else None
        if not found:
            raise InputError(path, f"its key {place + key!r} is missing", FIX_WHOLE)
        if not is_right(value):
            raise InputError(path, f"its key {place + key!r} is {str(value)[:60]!r}, expected {words}", FIX_WHOLE)


def _check_manifest(manifest: dict, path: Path) -> None:
    if manifest.get("format") != FORMAT:
        raise InputError(path, f"is not a manifest of a {FORMAT}", "Give the folder of a model bundle")
    version = manifest.get("format_version")
    if is_whole(version, VERSION + 1, 10**9):
        problem = f"has format version {version}, this program reads up to {VERSION}"
        raise InputError(path, problem, f"Install rho2prop {manifest.get('code_version')} or newer")
    if is_whole(version, 1, VERSION - 1):
        fix = "Write it again with this version: run the rule write_bundle of the workflow on its results"
        raise InputError(path, f"has format version {version}, expected {VERSION}", fix)
    if version != VERSION:
        raise InputError(path, f"its key 'format_version' is {str(version)[:20]!r}, expected {VERSION}", FIX_WHOLE)
    check_fields(manifest, MANIFEST_FIELDS, "", path)
    for engine, checked in (("gpaw", GPAW_FIELDS), ("atoms", ATOMS_FIELDS)):
        if engine in manifest["config"]["dft"]:
            check_fields(manifest["config"]["dft"][engine], checked, f"config.dft.{engine}.", path)
    unknown = [target for target in manifest["targets"] if target not in TARGETS]
    if unknown:
        raise InputError(path, f"predicts {unknown[0]!r}, which this program does not know", FIX_WHOLE)
    network, grid = manifest["autoencoder"]["network"], manifest["grid"]
    if network["grid_size"] != grid["size"]:
        problem = f"its autoencoder reads {network['grid_size']}³ points, its grid has {grid['size']}³"
        raise InputError(path, problem, FIX_WHOLE)
    shape, size = manifest["autoencoder"]["latent_shape"], network["latent_size"]
    if len(shape) != 4 or shape[1:] != [size] * 3 or not is_whole(shape[0], 1, MOST_CHANNELS):
        problem = f"its latent_shape is {str(shape)[:60]}, expected channels and {size}, {size}, {size}"
        raise InputError(path, problem, FIX_WHOLE)
    for key, fields, records in (
        ("regressors", REGRESSOR_FIELDS, manifest["regressors"]),
        ("intervals.calibrations", CALIBRATION_FIELDS, manifest["intervals"]["calibrations"]),
        ("intervals.not_offered", NOT_OFFERED_FIELDS, _not_offered(manifest, path)),
    ):
        for number, record in enumerate(records):
            check_fields(record, fields, f"{key}[{number}].", path)
    for number, record in enumerate(manifest["intervals"]["calibrations"]):
        if not isinstance(record.get("uses_spread", False), bool):  # bundles of the first models do not have it
            problem = f"its key 'intervals.calibrations[{number}].uses_spread' is not true or false"
            raise InputError(path, problem, FIX_WHOLE)
    _check_regressors(manifest, path)
    for name, record in manifest["files"].items():
        check_fields(record, FILE_FIELDS, f"files[{name[:80]!r}].", path)
    _check_block_versions(manifest, path)
    _check_element_tables(manifest["features"]["element_tables"], path)


def _not_offered(manifest: dict, path: Path) -> list:
    """Records of properties for which the final model was rejected."""
    records = manifest["intervals"].get("not_offered", [])
    if not isinstance(records, list):
        raise InputError(path, "its key 'intervals.not_offered' is not a list", FIX_WHOLE)
    return records


def _check_regressors(manifest: dict, path: Path) -> None:
    seen, calibrations = set(), manifest["intervals"]["calibrations"]
    calibrated, refused = (
        {(record["model"], record["features"], record["target"]) for record in records}
        for records in (calibrations, _not_offered(manifest, path))
    )
    if len(calibrated) < len(calibrations):
        raise InputError(path, "calibrates a property of a model twice", FIX_WHOLE)
    for record in manifest["regressors"]:
        name = f"{record['model']} ({record['features']})"
        if name in seen:
            raise InputError(path, f"lists the model {name} twice", FIX_WHOLE)
        seen.add(name)
        targets = record["targets"]
        predicted = [name for name in targets if (record["model"], record["features"], name) not in refused]
        if len(set(targets)) < len(targets) or not set(predicted) <= set(manifest["targets"]):
            problem = f"its model {name} predicts {', '.join(targets)}, expected its targets, each once"
            raise InputError(path, problem, FIX_WHOLE)
        absent = [name for name in predicted if (record["model"], record["features"], name) not in calibrated]
        if absent:
            raise InputError(path, f"has no calibration of {absent[0]} by its model {name}", FIX_WHOLE)


def _check_block_versions(manifest: dict, path: Path) -> None:
    versions = manifest["features"]["blocks"]
    for block in dict.fromkeys(block for record in manifest["regressors"] for block in record["blocks"]):
        wanted, here = versions.get(block), BLOCKS[block].version if block in BLOCKS else None
        if wanted is None or wanted != here:
            problem = (
                f"its models read version {str(wanted)[:20]} of the block {block[:80]!r}, this program makes {here}"
            )
            raise InputError(path, problem, "Use the version of rho2prop that wrote it, or train again")


def _check_element_tables(wanted: dict, path: Path) -> None:
    here = table_digests()
    differing = [name for name in {**here, **wanted} if wanted.get(name) != here.get(name)]
    if differing:
        made_from = ", ".join(f"{name} {version}" for name, version in source_versions().items())
        problem = f"its table of elements {differing[0]!r} is not this program's (made from {made_from})"
        raise InputError(path, problem, "Use the version of rho2prop that wrote it, or train again")


def _check_file(folder: Path, name: str, record: dict, manifest: Path) -> None:
    if not is_inside(name) or PurePosixPath(name).suffix not in SUFFIXES:
        problem = f"lists the file {name!r}, expected files inside the bundle that end in {', '.join(SUFFIXES)}"
        raise InputError(manifest, problem, FIX_WHOLE)
    path = folder / name
    links = [part for part in (path, *path.parents) if part != folder and folder in part.parents and part.is_symlink()]
    if links:
        raise InputError(links[0], "is a symbolic link, a bundle holds files only", FIX_WHOLE)
    if not path.is_file():
        raise InputError(path, "is missing from the bundle", FIX_WHOLE)
    size = path.stat().st_size
    if size != record["bytes"]:
        raise InputError(path, f"has been changed ({size} bytes, expected {record['bytes']})", FIX_WHOLE)
    found = digest(path)
    if found != record["sha256"]:
        problem = f"has been changed (SHA-256 {found[:12]}…, expected {record['sha256'][:12]}…)"
        raise InputError(path, problem, FIX_WHOLE)


def _refuse_unlisted(folder: Path, files: dict) -> None:
    """Raise InputError for a file in the folder of a model that the manifest does not list."""
    for name in MODEL_FOLDERS:
        for path in sorted((folder / name).rglob("*")):
            inside = path.relative_to(folder).as_posix()
            if inside not in files and (path.is_symlink() or not path.is_dir()) and not path.name.startswith("."):
                raise InputError(path, f"is not listed in {MANIFEST}", f"Delete it. {FIX_WHOLE}")


def _no_constant(name: str) -> None:
    raise ValueError(f"it holds {name}, which is not a JSON number")
