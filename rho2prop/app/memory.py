"""Memory limit of all workers together."""

import os
from pathlib import Path

import psutil

from rho2prop.core.jobs.memory import cgroup_bytes, slurm_bytes

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]  # a module elsewhere

MEMORY_SHARE = 0.6  # of the memory that the app may use


def memory_bytes(root: Path = Path("/")) -> int:
    """Memory in bytes available to the app: that of the machine, or the limit of a control group or Slurm job.

    Parameters
    ----------
    root
        Where ``proc`` and ``sys`` are mounted.
    """
    limits = (cgroup_bytes(root), slurm_bytes(os.environ))
    return int(min([psutil.virtual_memory().total, *(limit for limit in limits if limit is not None)]))


def limit_memory(n_bytes: int) -> None:
    """Make allocations beyond this limit fail in this process, instead of exhausting the machine.

    Windows has no such limit.
    """
    if resource is None:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or n_bytes < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (n_bytes, hard))
