"""Causes of failed VASP runs: fault of the material or of the job."""

import re
import signal
from pathlib import Path

from rho2prop.dft.failures import MORE_MEMORY, MORE_ROOM, EngineError, SetupError, Unfinished
from rho2prop.dft.vasp.restart import recorded

OUT, ERR = "vasp.out", "std_err.txt"
TAIL_BYTES = 4000
GENTLER = (
    "smaller mixing (AMIX 0.1, BMIX 0.01), ALGO = All or more smearing (SIGMA) in a preset of your own, and check the "
    "structure and its magnetic moments"
)
# by custodian's name of the error
ADVICE = {
    "Unconverged": f"Try more steps (NELM, NSW), {GENTLER}",
    "Non-converging job": f"Try {GENTLER}",
    "zbrent": "The forces are too noisy to relax: lower EDIFF or start from a better geometry",
    "brmix": "Charge is lost in mixing: check the cell and the number of electrons, or try smaller mixing (AMIX 0.1)",
    "eddrmm": "Try ALGO = Normal or All, and check that no atoms are too close",
    "zpotrf": "Check that no atoms are too close; a smaller POTIM helps a relaxation",
}


class Crashed(Exception):
    """VASP ended without a complete result and no handler knows why; the text says how, in one line."""

    problem = "VASP ended without a whole result"
    again = True  # whether to try again in the same job
    code = "crashed"
    code = "crashed"
    fix = "Start again; if it persists, see vasp.out and std_err.txt in the scratch folder (memory, ulimit -s, disk)"

    def verdict(self, name: str, times: int) -> EngineError | Unfinished:
        """Exception to raise after repeated crashes: it fails the job, not the material."""
        return Unfinished(name, f"{self}, {times} times" if times > 1 else str(self), self.fix, self.code)


class Killed(Crashed):
    """VASP was killed for an unknown reason, most often for its memory."""

    fix = MORE_MEMORY
    code = "killed"


class DiskFull(Crashed):
    """VASP could not write."""

    problem = "disk full while VASP wrote"
    code = "disk_full"
    code = "disk_full"
    fix = MORE_ROOM


class OutOfMemory(Crashed):
    """VASP or the system reported that memory ran out."""

    problem = "VASP ran out of memory"
    code = "memory"
    code = "memory"
    again = False
    fix = MORE_MEMORY


class CannotStart(Crashed):
    """The program cannot run on this machine: a library or the licence is missing."""

    problem = "VASP cannot run on this machine"
    again = False

    def verdict(self, name: str, times: int) -> EngineError | Unfinished:
        """The machine's fault."""
        return SetupError(name, str(self), "Load the modules that VASP was built with, or correct dft.vasp.machine")


class Refused(Crashed):
    """VASP stopped with an error message: with the same input it will do so again."""

    problem = "VASP stopped with an error of its own"

    def verdict(self, name: str, times: int) -> EngineError | Unfinished:
        """The material's fault."""
        return EngineError(f"{self}: check the structure and the preset's INCAR")


BANNER = "EEEEEEE"  # the first line of "ERROR" in large letters; the words are below it
# what VASP, its launcher and Slurm write; looked for in the ends of std_err.txt and vasp.out
CAUSES = (
    (DiskFull, re.compile(r"No space left on device|Disk quota exceeded|File too large|severe \(38\)", re.IGNORECASE)),
    (
        OutOfMemory,
        re.compile(
            r"out.of.memory|oom.?kill|insufficient virtual memory|severe \(41\)|exceed memory limit|cannot allocate|"
            r"allocation (failed|would exceed)|not enough memory|bad_alloc",
            re.IGNORECASE,
        ),
    ),
    (
        CannotStart,
        re.compile(
            r"error while loading shared libraries|symbol lookup error|exec format error|command not found|execve\(\)|"
            r"unable to find the specified executable|"
            r"licen[cs]e.*(expired|not found|invalid|missing)",
            re.IGNORECASE,
        ),
    ),
    (Refused, re.compile(rf"VERY BAD NEWS|REFUSE TO CONTINUE|internal error in|{BANNER}")),
)


def errors(folder: Path) -> str:
    """The errors that custodian recorded in a folder, each with its number: "zbrent 2×, Unconverged 1×"."""
    names = _error_names(folder)
    return ", ".join(f"{name} {names.count(name)}×" for name in dict.fromkeys(names)) or "no error on record"


def _error_names(folder: Path) -> list[str]:
    return [str(name) for correction in recorded(folder) for name in correction["errors"]]


def advice(folder: Path) -> str:
    """Advice for the error that custodian saw most often."""
    names = _error_names(folder)
    most = max(names, key=names.count, default="")
    return ADVICE.get(most, "See VASP's wiki for this error, and check the structure")


def crash(folder: Path, step: str, returncode: int | None) -> Crashed:
    """Cause of a run that left no complete result."""
    kind, line = _cause(folder) or (None, "")
    if kind is not None:
        return kind(f"{step}: {kind.problem} ({line})")
    text = f"{step}: VASP {_ending(returncode)}{_last_words(folder)}"
    return Killed(text) if _signal(returncode) == signal.SIGKILL else Crashed(text)


def _cause(folder: Path) -> tuple[type[Crashed], str] | None:
    """The first kind of ``CAUSES`` in the ends of the outputs, and the line that states it."""
    outputs = [[line.strip(" |*-\t") for line in tail(folder / name).splitlines()] for name in (ERR, OUT)]
    for kind, pattern in CAUSES:
        for lines in outputs:
            for i, line in enumerate(lines):
                if pattern.search(line):
                    below = [text for text in lines[i + 1 :] if re.search(r"[a-z]{3}", text)]
                    words = " ".join(below[:2]) if BANNER in line else line
                    return kind, words[:200]
    return None


def raise_machine_fault(folder: Path, step: str, frozen_s: float) -> None:
    """After custodian gave up: raise ``Crashed`` or ``Unfinished`` where no correction of the input could have helped.

    Parameters
    ----------
    folder, step
        Folder and name of the step.
    frozen_s
        Silence in s after which custodian ends a run.
    """
    kind, line = _cause(folder) or (None, "")
    if kind in (DiskFull, OutOfMemory):
        raise kind(f"{step}: {kind.problem} ({line})")
    if "out_of_memory" in _error_names(folder):
        raise OutOfMemory(f"{step}: {OutOfMemory.problem} (out_of_memory)")
    if _error_names(folder)[-1:] == ["Frozen job"]:
        fix = (
            "Start again; if it persists, check the file system and MPI, or give it more cores (one step may take long)"
        )
        raise Unfinished(
            folder, f"VASP wrote nothing for {frozen_s / 3600:g} h and was ended (Frozen job)", fix, code="frozen"
        )


def _signal(returncode: int | None) -> int:
    """Signal that ended a run, also as shells and launchers report it (128 + signal); 0: none."""
    if returncode is None:
        return 0
    return -returncode if returncode < 0 else max(0, returncode - 128)


def _ending(returncode: int | None) -> str:
    if returncode is None:
        return "does not end"
    number = _signal(returncode)
    if number in {known.value for known in signal.Signals}:
        return f"was killed by {signal.Signals(number).name}"
    return f"ended with exit status {returncode} and without a whole result"


def _last_words(folder: Path) -> str:
    for name in (ERR, OUT):
        lines = [line.strip(" |*-\t") for line in tail(folder / name).splitlines()]
        lines = [line for line in lines if line]
        if lines:
            return f" ({name} ends with: {lines[-1][:120]})"
    return ""


def tail(path: Path, n_bytes: int = TAIL_BYTES) -> str:
    """The end of a text file, from the first whole line; empty if there is no such file."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - n_bytes))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    return text if len(text) < n_bytes else text.partition("\n")[2]
