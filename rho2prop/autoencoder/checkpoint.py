"""Checkpoint of a training: one file, resumed only by the training that it belongs to, one job at a time."""

import contextlib
import hashlib
import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from rho2prop.core.atomic_files import atomic
from rho2prop.core.errors import InputError
from rho2prop.core.jobs.code_digest import code_digest
from rho2prop.core.jobs.running_jobs import lock

CHECKPOINT = "checkpoint.safetensors"
LOCK = "job.lock"


@contextmanager
def only_job(work_dir: Path | str) -> Iterator[None]:
    """Lock a folder of unfinished work for this job; the kernel releases it however the process ends.

    A folder that is empty at the end is removed.

    Raises
    ------
    InputError
        Another job has locked it.
    """
    path = Path(work_dir) / LOCK
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+") as file:
            if not lock(file, path):
                file.seek(0)
                fix = "Wait until it has ended, or end it, then start again"
                problem = f"another job works in this folder ({file.read().strip()})"
                raise InputError(work_dir, problem, fix)
            if not _is_file_at(file.fileno(), path):  # a job that has just ended removed it
                continue
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}\n")
            file.flush()
            for cut in path.parent.glob(f".partial-*-{CHECKPOINT}"):  # of a killed training, perhaps of another machine
                cut.unlink()
            try:
                yield
                return
            finally:
                path.unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # its work is kept
                    path.parent.rmdir()


def _is_file_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def training_digest(grids: list[tuple[str, str]], *parts: Any) -> str:
    """Digest of everything that a training depends on.

    Parameters
    ----------
    grids
        Ids and digests of the grids that it reads, in their order.
    parts
        Whatever else it depends on, as JSON can hold it. The code and the version of torch are added.
    """
    digest = hashlib.sha256(json.dumps([torch.__version__, grids, *parts], sort_keys=True).encode())
    digest.update(code_digest(Path(__file__).with_name("training.py")).encode())
    return digest.hexdigest()


def save_checkpoint(path: Path, digest: str, model: nn.Module, optimizer: torch.optim.Optimizer, state: dict) -> None:
    """Write weights, best weights, moments of Adam and the rest of the state, whole or not at all."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in state["best"].items()}
    moments = optimizer.state_dict()["state"]
    for index, values in moments.items():
        tensors |= {f"adam.{index}.{name}": torch.as_tensor(value) for name, value in values.items()}
    record = {name: value for name, value in state.items() if name != "best"}
    metadata = {"digest": digest, "state": json.dumps(record)}
    with atomic(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, metadata)


def resume(path: Path, digest: str, model: nn.Module, optimizer: torch.optim.Optimizer) -> dict:
    """Load the checkpoint into model and optimiser; a fresh state if there is none for this training."""
    fresh = {"history": [], "best_loss": float("inf"), "stale_epochs": 0, "best": {}, "hardware": []}
    if not path.is_file():
        return fresh
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        tensors = load_file(path) if metadata.get("digest") == digest else {}
    except SafetensorError as error:
        print(f"{path}: cannot be read ({error}); training starts from the beginning", file=sys.stderr)
        return fresh
    if not tensors:
        print(f"{path}: belongs to other settings, data or code; training starts from the beginning", file=sys.stderr)
        return fresh
    groups: dict[str, dict[str, torch.Tensor]] = {"model": {}, "best": {}, "adam": {}}
    for name, tensor in tensors.items():
        group, rest = name.split(".", 1)
        groups[group][rest] = tensor
    model.load_state_dict(groups["model"])
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in groups["adam"].items():
        index, key = name.split(".", 1)
        moments.setdefault(int(index), {})[key] = tensor
    state = json.loads(metadata["state"])
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    print(f"{path}: training resumes after epoch {len(state['history'])}", file=sys.stderr)
    return state | {"best": groups["best"]}
