"""Checks of the files of a model bundle, before a library allocates memory for them or parses them.

Shapes of arrays and weights follow from the design (columns) and the autoencoder (latent), so that parts of two bundles
are told apart, and no file can ask for more memory than its own size.
"""

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np

from rho2prop.core.archive_check import array_header
from rho2prop.core.errors import InputError
from rho2prop.core.targets import TARGETS
from rho2prop.evaluation.intervals import Calibration
from rho2prop.features.registry import BLOCKS, COHESIVE_ENERGY, LATENT, LATENT_PCA, TABLE
from rho2prop.models.estimator import estimator_class
from rho2prop.models.registry import GAUSSIAN_PROCESS, MODELS, check
from rho2prop.prediction.applicability import TrainingSpace
from rho2prop.prediction.bundle.checks import FIX_WHOLE, check_fields, is_number, is_text, read_json
from rho2prop.prediction.bundle.tree_text import check_tree_text

if TYPE_CHECKING:
    import torch

MOST_ARRAYS, MOST_BYTES = 10_000, 2**30  # of one .npz, unpacked
MOST_LAYERS, MOST_WIDTH, MOST_MEMBERS = 64, 2**14, 64
WIDEST_LOGARITHM = 100.0
DESIGN, FOLD = "design", "fold.json"


@dataclass(frozen=True)
class DesignWidth:
    """Inputs that a design gives to its model: tabular columns, channels and edge of its latents (0: none)."""

    columns: int
    channels: int
    latent_size: int


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Context in which errors of reading name the part of the bundle."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # whatever a damaged file makes a library raise
        problem = f"cannot be read ({type(error).__name__}: {str(error)[:200]})"
        raise InputError(path, problem, FIX_WHOLE) from error


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read all arrays of an ``.npz`` of plain numbers or texts; headers are checked before anything is unpacked."""
    with readable(path):
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            unpacked = sum(member.file_size for member in members)
            if len(members) > MOST_ARRAYS or unpacked > MOST_BYTES:
                problem = f"holds {len(members)} arrays of {unpacked} bytes, expected at most {MOST_BYTES} bytes"
                raise InputError(path, problem, FIX_WHOLE)
            if len({member.filename for member in members}) < len(members):
                raise InputError(path, "holds two arrays of one name", FIX_WHOLE)
            for member in members:
                with archive.open(member) as file:
                    _check_header(file, member, path)
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}


def read_calibrations(path: Path, records: list[dict]) -> dict[tuple[str, str, str], Calibration]:
    """Read calibrations by model, features and target: sorted finite scores, as many as the manifest says."""
    arrays, found = read_arrays(path), {}
    for record in records:
        scores = _expect(arrays, record["scores"], (record["n"],), path)
        if scores.min() < 0 or (np.diff(scores) < 0).any():
            raise InputError(path, f"its scores {record['scores']!r} are negative or not sorted", FIX_WHOLE)
        key = record["model"], record["features"], record["target"]
        uses_spread = record.get("uses_spread", False)
        found[key] = Calibration(record["power"], record["offset"], scores, record["is_positive"], uses_spread)
    return found


def read_training_space(path: Path, training: dict) -> TrainingSpace:
    """Read the training set in its principal components, of the size given in the manifest."""
    arrays = read_arrays(path)
    absent = [field.name for field in fields(TrainingSpace) if field.name not in arrays]
    if absent or len(arrays) > len(fields(TrainingSpace)):
        raise InputError(path, f"holds {', '.join(arrays)[:200]}, expected the fields of a training space", FIX_WHOLE)
    n, n_columns = training["n_materials"], arrays["columns"].size
    n_components = len(np.atleast_1d(arrays["components"]))
    shapes = {"mean": (n_columns,), "scale": (n_columns,), "components": (n_components, n_columns)}
    for name, shape in (shapes | {"points": (n, n_components), "distances": (n,)}).items():
        _expect(arrays, name, shape, path)
    for name, shape in {"columns": (n_columns,), "material_ids": (n,), "formulas": (n,)}.items():
        _expect(arrays, name, shape, path, "U")
    if arrays["elements"].tolist() != training["elements"]:
        raise InputError(path, "its elements are not those of the manifest's training set", FIX_WHOLE)
    if arrays["scale"].min() <= 0 or (np.diff(arrays["distances"]) < 0).any() or arrays["distances"].min() < 0:
        raise InputError(path, "its scales are not positive or its distances not sorted", FIX_WHOLE)
    return TrainingSpace(**arrays)


def check_weights(path: Path, network: "torch.nn.Module") -> None:
    """Raise InputError unless a file holds finite weights of the shapes that a network (on no device) has."""
    from safetensors.numpy import load_file

    with readable(path):
        tensors = load_file(path)
    for name, values in tensors.items():
        if values.dtype.kind not in "fi" or not np.isfinite(values).all():
            raise InputError(path, f"its weights {name!r} are not finite numbers ({values.dtype})", FIX_WHOLE)
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    if {name: values.shape for name, values in tensors.items()} != expected:
        raise InputError(path, "does not hold the weights of the network that is described beside it", FIX_WHOLE)


def check_regressor(folder: Path, record: dict, latent_shape: list[int]) -> dict:
    """The record ``fold.json`` of a model, after all files of its folder were checked against its design.

    Parameters
    ----------
    folder
        Of the model.
    record
        What the manifest says of it.
    latent_shape
        Channels and edges of the bundle's latents.
    """
    path = folder / FOLD
    fold = read_json(path)
    for key in ("model", "features", "blocks", "targets"):
        if fold.get(key) != record[key]:
            problem = f"its {key} are {str(fold.get(key))[:200]}, the manifest says {str(record[key])[:200]}"
            raise InputError(path, problem, FIX_WHOLE)
    _check_choice(record, path)
    width = _check_design(folder, record["blocks"], latent_shape)
    model = MODELS[record["model"]]
    for file in sorted(folder.rglob("*")):
        if file.suffix == ".txt":
            check_tree_text(file, width.columns)
        elif file.suffix == ".npz" and file.name != f"{DESIGN}.npz":
            arrays = read_arrays(file)
            if GAUSSIAN_PROCESS in (model.name, *model.members):
                _check_process(file, arrays, width.columns)
        elif file.name == "mean.json":
            check_fields(read_json(file), dict.fromkeys(record["targets"], (is_number, "a number")), "", file)
        elif file.suffix == ".safetensors":
            with readable(file):
                _check_network(file.parent, width, record)
    return fold


def _check_choice(record: dict, path: Path) -> None:
    """Raise InputError unless the model and its blocks are known and can be computed from a density alone."""
    for block in record["blocks"]:
        if block not in BLOCKS or not BLOCKS[block].travels:
            raise InputError(path, f"reads the block {block[:80]!r}, which no density alone gives", FIX_WHOLE)
    check(record["model"], record["features"], tuple(record["blocks"]), str(path))


def _check_header(file: IO[bytes], member: zipfile.ZipInfo, path: Path) -> None:
    shape, dtype = array_header(file)
    n_bytes = math.prod(shape) * dtype.itemsize
    is_plain = dtype.kind in "biufU" and dtype.names is None and dtype.subdtype is None
    if not is_plain or n_bytes != member.file_size - file.tell() or not member.filename.endswith(".npy"):
        problem = f"its array {member.filename[:80]!r} is {dtype} of shape {shape} in {member.file_size} bytes"
        raise InputError(path, f"{problem}, expected plain numbers or texts that fill it", FIX_WHOLE)


def _expect(arrays: dict, name: str, shape: tuple, path: Path, kinds: str = "f") -> np.ndarray:
    """An array of a shape, of finite numbers unless it is a text."""
    if name not in arrays:
        raise InputError(path, f"lacks the array {name!r}", FIX_WHOLE)
    values = arrays[name]
    if values.shape != shape or values.dtype.kind not in kinds:
        problem = f"its array {name!r} is {values.dtype} of shape {values.shape}, expected shape {shape}"
        raise InputError(path, problem, FIX_WHOLE)
    if values.dtype.kind != "U" and not np.isfinite(values).all():
        raise InputError(path, f"its array {name!r} holds values that are not finite", FIX_WHOLE)
    return values


def _check_design(folder: Path, blocks: list[str], latent_shape: list[int]) -> DesignWidth:
    path = folder / f"{DESIGN}.json"
    record, arrays = read_json(path), read_arrays(folder / f"{DESIGN}.npz")
    columns: Any = record.get("columns")
    is_right = isinstance(columns, dict) and all(
        isinstance(names, list) and all(map(is_text, names)) for names in columns.values()
    )
    if record.get("blocks") != blocks or not is_right or not set(columns) <= set(blocks):
        raise InputError(path, f"is not the design of a model on {', '.join(blocks)}", FIX_WHOLE)
    n_columns, channels, wanted = 0, 0, set()
    shape: tuple[int, ...]
    for block in blocks:
        form = BLOCKS[block].form
        if form == TABLE and block not in columns:
            raise InputError(path, f"has no columns of the block {block!r}", FIX_WHOLE)
        shape = (len(columns.get(block, ())),)
        if form == LATENT:
            shape, channels = (latent_shape[0], 1, 1, 1), channels + latent_shape[0]
        elif form == LATENT_PCA:
            shape = (math.prod(latent_shape),)
            n_kept = len(np.atleast_1d(arrays.get(f"{block}.components", ())))
            _expect(arrays, f"{block}.components", (n_kept, *shape), folder / f"{DESIGN}.npz")
            wanted.add(f"{block}.components")
            n_columns += n_kept
        elif block != COHESIVE_ENERGY:
            n_columns += shape[0]
        for role in ("mean", "scale"):
            values = _expect(arrays, f"{block}.{role}", shape, folder / f"{DESIGN}.npz")
            wanted.add(f"{block}.{role}")
        if block != COHESIVE_ENERGY and values.min(initial=1.0) <= 0:
            raise InputError(folder / f"{DESIGN}.npz", f"its {block}.scale is not positive", FIX_WHOLE)
    if set(arrays) != wanted:
        odd = min(set(arrays) ^ wanted)
        raise InputError(folder / f"{DESIGN}.npz", f"its array {odd!r} does not belong to its design", FIX_WHOLE)
    return DesignWidth(n_columns, channels, latent_shape[1] if channels else 0)


def _check_process(path: Path, arrays: dict[str, np.ndarray], n_columns: int) -> None:
    if path.stem not in TARGETS:
        raise InputError(path, "is not named after a property", FIX_WHOLE)
    n_rows = len(np.atleast_1d(arrays.get("weights", ())))
    groups = 0
    for name in ("smooth", "trend"):
        values = _expect(arrays, name, (n_columns,), path, "i")
        n_groups = values.max(initial=-1) + 1
        if values.min(initial=0) < -1 or n_groups > n_columns:
            raise InputError(path, f"its array {name!r} numbers groups that it does not have", FIX_WHOLE)
        groups += n_groups
    shapes = {"rows": (n_rows, n_columns), "weights": (n_rows,), "hyperparameters": (2 + groups,)}
    shapes |= {"mean": (), "scale": ()}
    for name, shape in shapes.items():
        _expect(arrays, name, shape, path)
    _expect(arrays, "is_log", (), path, "b")
    if arrays["scale"] <= 0 or np.abs(arrays["hyperparameters"]).max() > WIDEST_LOGARITHM:
        raise InputError(path, "its scale is not positive or a hyperparameter out of all bounds", FIX_WHOLE)


def _check_network(folder: Path, width: DesignWidth, regressor: dict) -> None:
    """Sizes of a network, bounded, and weights of the shapes that it has; nothing of its size is allocated."""
    import torch

    from rho2prop.models.network_training import Architecture, Ensemble

    architecture = cast(type[Architecture], estimator_class(regressor["model"]))
    path = folder / "model.json"
    record = read_json(path)
    own = [folder.name] if folder.name in TARGETS else regressor["targets"]
    are_tables = (
        lambda value: (
            isinstance(value, list)
            and 1 <= len(value) <= MOST_MEMBERS
            and all(isinstance(sizes, dict) for sizes in value)
        ),
        f"a list of 1 to {MOST_MEMBERS} networks' sizes",
    )
    is_its = (lambda value: value == architecture.architecture, f"{architecture.architecture!r}")
    check_fields(record, {"architecture": is_its, "members": are_tables}, "", path)
    for sizes in record["members"]:
        _check_sizes(sizes, width, len(own), path)
    if record.get("targets") != own:
        raise InputError(path, f"predicts {str(record.get('targets'))[:200]}, expected {', '.join(own)}", FIX_WHOLE)
    numbers = {
        "minimum": lambda value: is_number(value),
        "span": lambda value: is_number(value, 1e-300),
        "is_log": lambda value: isinstance(value, bool),
    }
    for name, is_right in numbers.items():
        values = record.get(name)
        if not isinstance(values, list) or len(values) != len(own) or not all(map(is_right, values)):
            raise InputError(path, f"its {name} is {str(values)[:60]}, expected one number for each target", FIX_WHOLE)
    with torch.device("meta"):  # shapes only: no memory is taken before they are known to be those of the file
        network = Ensemble([architecture.build(sizes) for sizes in record["members"]])
    check_weights(folder / "model.safetensors", network)


def _check_sizes(sizes: dict, width: DesignWidth, n_outputs: int, path: Path) -> None:
    for name, size in sizes.items():
        values = size if isinstance(size, list) else [size]
        most = MOST_LAYERS if name.endswith("depth") or name.startswith(("n_layers", "blocks_")) else MOST_WIDTH
        if len(values) > MOST_LAYERS or not all(is_number(one, 0, most) for one in values):
            raise InputError(path, f"its size {name!r} is {str(size)[:60]}, expected at most {most}", FIX_WHOLE)
    wanted = {"latent_channels": width.channels, "latent_size": width.latent_size, "n_tabular": width.columns}
    for name, size in (wanted | {"n_outputs": n_outputs}).items():
        if sizes.get(name) != size:
            problem = f"its network has {name} {sizes.get(name)}, its design and targets ask for {size}"
            raise InputError(path, problem, FIX_WHOLE)
