"""Time limit of this job."""

import os
import subprocess
from datetime import datetime

SQUEUE_TIMEOUT_S = 30


def job_deadline_s() -> float | None:
    """End of this Slurm job in seconds as ``time.time()`` counts; None outside a job or without a time limit.

    Slurm says it in SLURM_JOB_END_TIME (from 22.05 on); otherwise ``squeue`` is asked.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if not job:
        return None
    end = os.environ.get("SLURM_JOB_END_TIME", "")
    if end.isdigit():
        return float(end)
    command = ["squeue", "--noheader", "--jobs", job, "--format", "%e"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=SQUEUE_TIMEOUT_S, check=True)
        return datetime.fromisoformat(found.stdout.split()[0]).timestamp()
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        print(f"the end of Slurm job {job} is unknown ({error}): it may be stopped in the middle of a step")
        return None
