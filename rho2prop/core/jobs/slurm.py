"""Slurm: resources that grow with each attempt, several ranks, jobs left by an earlier run."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from rho2prop.core.errors import InputError

LOG_FOLDER = Path(".snakemake/slurm_logs")  # where the executor plugin puts the log of each job
SHOWN_JOBS = 10


def growing(amount: int) -> Callable[..., int]:
    """Resource of a rule that grows with each attempt: once, twice, three times ``amount``."""
    return lambda wildcards, attempt: amount * attempt


def rank_resources(devices: int, nodes: int) -> dict[str, int | str]:
    """Resources of a rule that trains on ``devices`` GPUs on each of ``nodes`` nodes.

    One GPU is an ordinary job. Several are one rank each, which the job itself starts with srun: the plugin does
    so for jobs that have the resource ``mpi``.
    """
    n_ranks = devices * nodes
    if n_ranks == 1:
        return {"gpu": 1}
    per_node = {"tasks": nodes} if devices == 1 else {"tasks_per_node": devices}
    return {"mpi": "srun", "nodes": nodes, "gres": f"gpu:{devices}", "tasks_per_gpu": 0, **per_node}


def refuse_while_jobs_run(folder: Path | str) -> None:
    """Raise InputError while Slurm still has jobs of an earlier run in ``folder``: both would write the same files.

    A submitting process that was killed leaves its jobs behind: they finish, and the next run recognises what they
    wrote.

    Raises
    ------
    InputError
        There are such jobs, or Slurm cannot be asked.
    """
    logs = Path(folder).resolve() / LOG_FOLDER
    if not logs.is_dir() or shutil.which("squeue") is None:
        return
    jobs = _queued_jobs(logs)
    if jobs:
        shown = " ".join(jobs[:SHOWN_JOBS]) + (" ..." if len(jobs) > SHOWN_JOBS else "")
        problem = f"{len(jobs)} Slurm jobs of an earlier run are still queued or running here ({shown})"
        fix = (
            f"Wait until they have ended (squeue --jobs {','.join(jobs[:SHOWN_JOBS])}) and start again, which resumes "
            f"with what they wrote; or cancel them first: scancel {' '.join(jobs)}"
        )
        raise InputError(Path(folder).resolve(), problem, fix)


def _queued_jobs(logs: Path) -> list[str]:
    """Ids of the jobs that are queued or running and write their log below ``logs``."""
    command = ["squeue", "--me", "--noheader", "--Format=JobID:32,STDOUT:4096"]
    answer = subprocess.run(command, text=True, capture_output=True)
    if answer.returncode != 0:
        fix = "Start again when squeue works: jobs of an earlier run may still be writing here"
        raise InputError("squeue", f"failed ({answer.stderr.strip()})", fix)
    lines = (line.split(maxsplit=1) for line in answer.stdout.splitlines() if line.strip())
    return [job for job, log in lines if log.strip().startswith(f"{logs}/")]
