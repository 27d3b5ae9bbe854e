"""Memory and disk that a training of the autoencoder needs, and memory that a job may use.

The Snakefile imports this module: nothing heavy at the top.
"""

import math
import os
from collections.abc import Mapping
from pathlib import Path

import psutil

GRID_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}  # of a value of a stored grid, by autoencoder.grid_precision
PROCESS_BYTES = 5e8  # of a training process: libraries, weights
VOXEL_BYTES = {"paper": 500, "fast": 75}  # activations and gradients of a step, per voxel (measured at 128³)
RECOMPUTED_FROM = 128  # points along each edge of grids for which the paper's network keeps fewer activations
RECOMPUTED_VOXEL_BYTES = 270
SPARE = 1.25  # requested over the need
GPU_HOST_MB = 4000  # libraries of the GPU
NO_LIMIT_BYTES = 2**60  # control groups of version 1 write a number near 2**63 for no limit


def grids_bytes(n_grids: int, size: int, grid_precision: str) -> int:
    """Bytes on disk of ``n_grids`` stored cubes of ``size`` points along each edge."""
    return n_grids * size**3 * GRID_BYTES[grid_precision]


def training_bytes(network: str, size: int, batch_size: int) -> float:
    """Memory of a rank that trains on a CPU, whatever the number of grids.

    Batches hold one grid more where the number of grids is no multiple of their size.
    """
    is_recomputed = network == "paper" and size >= RECOMPUTED_FROM
    voxel_bytes = RECOMPUTED_VOXEL_BYTES if is_recomputed else VOXEL_BYTES[network]
    return PROCESS_BYTES + (batch_size + 1) * size**3 * voxel_bytes


def training_mem_mb(network: str, size: int, batch_size: int, devices: int) -> int:
    """Memory in MB of a node to ask for, with ``devices`` ranks on it, on a CPU or on GPUs."""
    needed_mb = SPARE * training_bytes(network, size, batch_size) / 1e6
    return devices * math.ceil(max(needed_mb, GPU_HOST_MB))


def allowed_bytes(mem_mb: int | None = None) -> tuple[float, str]:
    """Memory that this job may use on its node, in bytes, and what limits it.

    Parameters
    ----------
    mem_mb
        Resource ``mem_mb`` of the rule, where it is known.
    """
    limits = {"free memory of this machine": float(psutil.virtual_memory().available)}
    in_slurm = slurm_bytes(os.environ)
    if in_slurm is not None:  # the node's free memory is not this job's
        limits = {"memory of the Slurm job": in_slurm}
    if mem_mb is not None:
        limits["resource mem_mb of the rule"] = mem_mb * 1e6
    in_group = cgroup_bytes()
    if in_group is not None:
        limits["memory limit of the control group"] = in_group
    reason = min(limits, key=lambda name: limits[name])
    return limits[reason], reason


def slurm_bytes(environment: Mapping[str, str]) -> float | None:
    """Memory of a Slurm job on this node in bytes, or None outside Slurm or where it may use the whole node."""
    if "SLURM_JOB_ID" not in environment:
        return None
    megabytes = int(environment.get("SLURM_MEM_PER_NODE", 0))
    if not megabytes:
        megabytes = int(environment.get("SLURM_MEM_PER_CPU", 0)) * int(environment.get("SLURM_CPUS_ON_NODE", 1))
    return megabytes * 2**20 if megabytes else None


def cgroup_bytes(root: Path = Path("/")) -> float | None:
    """Least memory limit of this process's control group (version 1 or 2) and those above it, in bytes, or None.

    Parameters
    ----------
    root
        Where ``proc`` and ``sys`` are mounted.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return None
    limits = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            mount, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            mount, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        folder = Path(group.lstrip("/"))
        for above in (folder, *folder.parents):  # in a container the mount itself may be the group
            limits += _limit(mount / above / name)
    return min(limits, default=None)


def _limit(path: Path) -> list[float]:
    try:
        text = path.read_text().strip()
    except OSError:
        return []
    return [float(text)] if text.isdigit() and int(text) < NO_LIMIT_BYTES else []
