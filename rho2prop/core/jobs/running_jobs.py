"""Jobs that work in the folder of a run: each holds a locked file, which the kernel releases however the job ends.

A local Snakemake that is killed leaves its jobs behind. They continue and write their results; a second run would
write the same files at the same time.
"""

import errno
import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO

from rho2prop.core.errors import InputError

try:
    import fcntl
except ImportError:  # Windows: what needs no lock works there too
    fcntl = None  # type: ignore[assignment]  # a module elsewhere

JOBS = Path(".snakemake/rho2prop/jobs")
SHOWN_JOBS = 10
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}  # what a file system may answer


def lock(file: IO[str], source: Path) -> bool:
    """Lock a file that is open for writing; False if another process holds it. Where there are no locks all are free.

    The lock belongs to this process alone: a child that outlives it (an idle worker) does not keep it.
    """
    if fcntl is None:
        problem = "needs POSIX file locks, by which runs in one folder are kept apart; this system has none"
        raise InputError(source, problem, "Run the workflow on Linux or macOS, on Windows in WSL")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # either, says POSIX
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        print(f"{source}: this file system has no locks ({error.strerror})", file=sys.stderr)
    return True


@contextmanager
def running_job(name: str, folder: Path | str = ".") -> Iterator[None]:
    """Register a job in ``folder`` for as long as this process lives or the block lasts.

    Parameters
    ----------
    name
        Name of the job in messages: its log.
    folder
        Folder of the run.
    """
    host, pid = platform.node(), os.getpid()
    jobs = Path(folder) / JOBS
    jobs.mkdir(parents=True, exist_ok=True)
    path = jobs / f"{host}-{pid}.json"
    new = path.with_suffix(".new")  # locked before it has the name that others look for
    with new.open("w", encoding="utf-8") as file:
        lock(file, path)
        since = datetime.now().astimezone().isoformat(timespec="seconds")
        json.dump({"name": name, "pid": pid, "host": host, "since": since}, file)
        file.flush()
        os.replace(new, path)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def refuse_while_local_jobs_run(folder: Path | str) -> None:
    """Raise InputError while jobs of an earlier run still work in ``folder``.

    Raises
    ------
    InputError
        There are such jobs.
    """
    jobs = _running_jobs(Path(folder) / JOBS)
    if not jobs:
        return
    listing = ", ".join(
        f"{job['name']} (process {job['pid']} on {job['host']}, since {job['since']})" for job in jobs[:SHOWN_JOBS]
    )
    more = " ..." if len(jobs) > SHOWN_JOBS else ""
    here = [str(job["pid"]) for job in jobs if job["host"] == platform.node()]
    end = f" (kill {' '.join(here)})" if here else ""
    gone = f" (or delete {JOBS} if that machine is down)" if len(here) < len(jobs) else ""
    raise InputError(
        Path(folder).resolve(),
        f"{len(jobs)} jobs of an earlier run still work here: {listing}{more}",
        f"Wait until they have ended, or end them{end}{gone}, then start again; a training resumes from its last epoch",
    )


def _running_jobs(folder: Path) -> list[dict]:
    """Jobs whose files are locked; the files of those that were killed are removed."""
    jobs = []
    for path in sorted(folder.glob("*.json")):
        try:
            with path.open("r+", encoding="utf-8") as file:
                if lock(file, path):
                    path.unlink()
                else:
                    jobs.append(json.load(file))
        except FileNotFoundError:  # it has just ended
            continue
    return jobs
