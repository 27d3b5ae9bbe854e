"""Failures: a fault of the material ends in an outcome "failed", any other fault in a failed job.

An outcome is final: no later run computes that material again. So it is written only for what the next attempt would
find again: a calculation that does not converge, a structure or density that cannot be used (``EngineError`` and
``InputError``). Memory, disk, network, time limit, a killed child, a missing program, licence, potential or dataset do
not depend on the material (``Unfinished``, ``SetupError``); anything else that is raised is a bug. Both end the job
without an outcome, so that Slurm submits it again with more memory and time, and a later run tries it again.
"""

import errno
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager

from rho2prop.core.errors import InputError

# errors of the system that a file or a path of the material may cause; all others are those of the machine
MATERIAL_ERRNOS = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.ENAMETOOLONG, errno.ELOOP}
DISK_FULL_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FORBIDDEN_ERRNOS = {errno.EACCES, errno.EPERM, errno.EROFS}
MORE_MEMORY = "Start again with more memory (on Slurm each retry asks for more: mem_mb), or with fewer jobs at once"
MORE_ROOM = "Free space on that disk (or raise the quota), then start again"


class EngineError(Exception):
    """An engine could not compute a converged density of this material; the text is the reason, in one line.

    Parameters
    ----------
    reason
        Why, in one line, with what to change.
    corrections, protocol_changes
        What was tried, for the record.
    resumable
        Whether the scratch folder is worth keeping: a later run can resume from it.
    """

    def __init__(
        self,
        reason: str,
        corrections: list[str] | None = None,
        protocol_changes: list[str] | None = None,
        resumable: bool = False,
    ):
        super().__init__(reason)
        self.corrections, self.protocol_changes = list(corrections or []), list(protocol_changes or [])
        self.resumable = resumable


class Unfinished(InputError):
    """No outcome: another attempt may succeed (time limit, memory, disk, network, a killed child).

    The job fails with this message, the scratch folder is kept, and the next attempt resumes from it.
    """


class SetupError(Unfinished):
    """No outcome: this installation or configuration lacks what the engine needs, for every material alike."""


def job_failure(error: BaseException, name: str) -> Unfinished | None:
    """The error that must end the job, or None for a fault of the material or a bug.

    Parameters
    ----------
    error
        What an engine, a reader or a writer raised. What it was raised from counts too: readers wrap all that a parser
        raises, a MemoryError as well.
    name
        Material or atom, for the message.
    """
    for link in _chain(error):
        if isinstance(link, Unfinished):
            return link
        detail = " ".join(f"{link}".split())[:300]
        if isinstance(link, MemoryError):
            return Unfinished(name, f"ran out of memory ({detail or 'MemoryError'})", MORE_MEMORY, code="memory")
        if isinstance(link, OSError) and link.errno is not None and link.errno not in MATERIAL_ERRNOS:
            return _system_failure(link, detail, name)
        if isinstance(link, BrokenExecutor):
            return Unfinished(
                name, f"a child process was killed, perhaps for its memory ({detail})", MORE_MEMORY, code="killed"
            )
        if isinstance(link, ImportError):
            fix = "Install the packages of requirements.txt in the environment of this run, or choose another engine"
            return SetupError(name, f"a package of the engine cannot be imported ({detail})", fix, code="import")
    return None


@contextmanager
def job_failures(name: str, engine: str) -> Iterator[None]:
    """Turn errors that are not the material's fault into ``Unfinished``; let bugs pass."""
    try:
        yield
    except Exception as error:
        failure = job_failure(error, name)
        if failure is None:
            error.add_note(f"(while engine {engine} worked on {name}; no outcome is written)")
            raise
        if failure is error:
            raise
        raise failure from error


def _system_failure(error: OSError, detail: str, name: str) -> Unfinished:
    if error.errno == errno.ENOMEM:
        return Unfinished(name, f"ran out of memory ({detail})", MORE_MEMORY, code="memory")
    if error.errno in DISK_FULL_ERRNOS:
        return Unfinished(name, f"disk full ({detail})", MORE_ROOM, code="disk_full")
    if error.errno in FORBIDDEN_ERRNOS:
        fix = "Correct the permissions of this file or folder, then start again"
        return SetupError(name, f"a file may not be read or written ({detail})", fix, code="permission")
    fix = "Check the disk, the network and the limits (ulimit -a) of this machine, then start again"
    return Unfinished(name, f"the operating system refused ({detail})", fix, code="system")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, then its causes."""
    seen: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in seen:
        seen.append(link)
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
