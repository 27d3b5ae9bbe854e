"""Rank and number of the processes that train together, as srun and torchrun set them in the environment."""

import os


def started_ranks() -> int:
    """Number of processes that srun or torchrun started together with this one; 1 if neither did."""
    return int(os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_NTASKS") or 1)


def ranks_of_node() -> int:
    """Number of ranks that share the memory of this node."""
    if "LOCAL_WORLD_SIZE" in os.environ:  # torchrun
        return int(os.environ["LOCAL_WORLD_SIZE"])
    return int(os.environ.get("SLURM_NTASKS_PER_NODE") or 1) if started_ranks() > 1 else 1
