"""VASP under custodian: handlers, validators and the stop before the end of the job."""

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from custodian.custodian import (
    Custodian,
    CustodianError,
    MaxCorrectionsError,
    MaxCorrectionsPerHandlerError,
    MaxCorrectionsPerJobError,
    NonRecoverableError,
)
from custodian.vasp import handlers as standard
from custodian.vasp.jobs import VaspJob
from custodian.vasp.validators import VaspFilesValidator, VasprunXMLValidator

from rho2prop.dft.failures import EngineError
from rho2prop.dft.vasp.causes import ERR, OUT, advice, crash, errors, raise_machine_fault
from rho2prop.dft.vasp.restart import STOPPED, record_process

FROZEN_S = 21_600  # without a word from VASP
MONITOR_S = 60.0  # how often a running VASP is looked at, at most
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class DeadlineHandler(standard.WalltimeHandler):
    """custodian's WalltimeHandler with a point in time instead of a duration since its own start.

    The original takes its start from an environment variable that an earlier material of the same process has set, and
    does nothing while the OUTCAR cannot be read. First VASP is asked to stop by STOPCAR (after the ionic step of a
    relaxation, else after the electronic one); in the last third of the margin it is ended, so that there is time left
    to say so.

    Parameters
    ----------
    deadline_s
        End of the job as ``time.time()`` counts.
    margin_s
        Time before it at which VASP is asked to stop; three ionic steps if they take longer.
    electronic_step_stop
        Stop after an electronic step.
    """

    def __init__(self, deadline_s: float, margin_s: float, electronic_step_stop: bool = False):
        self.deadline_s, self.margin_s = deadline_s, margin_s
        self.electronic_step_stop = electronic_step_stop

    @property
    def is_terminating(self) -> bool:  # type: ignore[override]  # custodian reads its class attribute only
        """Whether it is too late to wait for VASP."""
        return time.time() > self.deadline_s - self.margin_s / 3

    def check(self, directory: str = "./") -> bool:
        """Whether VASP must stop now."""
        label = r"LOOP:" if self.electronic_step_stop else r"LOOP\+:"
        try:
            text = Path(directory, "OUTCAR").read_text(encoding="utf-8", errors="replace")
        except OSError:
            text = ""
        steps_s = [float(seconds) for seconds in re.findall(label + r".+real time\s*([\d.]+)", text)]
        return time.time() > self.deadline_s - max(self.margin_s, 3 * max(steps_s, default=0.0))

    def correct(self, directory: str = "./") -> dict:
        """Write STOPCAR and leave a mark."""
        Path(directory, STOPPED).touch()
        return super().correct(directory)


class UnconvergedHandler(standard.UnconvergedErrorHandler):
    """custodian's handler, but a run that was stopped before the deadline does not count as unconverged."""

    def check(self, directory: str = "./") -> bool:
        """Whether VASP ended by itself without convergence."""
        return not Path(directory, STOPPED).exists() and super().check(directory)


class VaspProcess(VaspJob):
    """One run of VASP that does not outlive this process and leaves no copies of its inputs."""

    def setup(self, directory: str = "./") -> None:
        """Nothing: the folder is ready (the original unpacks every archive that lies there)."""

    def run(self, directory: str = "./") -> subprocess.Popen:
        """Start VASP in a session of its own."""
        parent = os.getpid()

        def die_with_parent() -> None:
            assert LIBC is not None  # or it is not called
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # it died before the line above
                os._exit(1)

        with open(Path(directory, self.output_file), "w") as out, open(Path(directory, self.stderr_file), "w") as err:
            self._vasp_process = subprocess.Popen(
                self.vasp_cmd,
                cwd=directory,
                stdout=out,
                stderr=err,
                start_new_session=True,
                preexec_fn=die_with_parent if LIBC is not None else None,
                env={"OMP_NUM_THREADS": "1", **os.environ},
            )
        record_process(Path(directory), self._vasp_process.pid)
        return self._vasp_process

    @property
    def returncode(self) -> int | None:
        """Exit status of the last run; negative: the signal that ended it."""
        process = getattr(self, "_vasp_process", None)
        return None if process is None else process.poll()


def run_vasp(
    folder: Path,
    step: str,
    command: list[str],
    max_errors: int,
    polling_s: float,
    deadline_s: float | None = None,
    margin_s: float = 0.0,
) -> bool:
    """Run VASP in a folder that is ready, with custodian's standard handlers and validators.

    Left out of them: LargeSigma (it changes the smearing that the protocol states), PositiveEnergy (right for some
    atoms) and the handlers for other kinds of calculation.

    Parameters
    ----------
    folder, step
        Folder with all inputs; "relax", "static" or "atom".
    command
        What starts VASP.
    max_errors
        Corrections before custodian gives up.
    polling_s
        How often custodian looks whether VASP has ended, in s.
    deadline_s, margin_s
        As in ``DeadlineHandler``; None: no limit.

    Returns
    -------
    bool
        False where VASP was stopped before the deadline.

    Raises
    ------
    EngineError
        custodian gave up.
    Crashed
        VASP died, left no result or the disk was full; to be tried again.
    Unfinished
        VASP hung or needs more memory: nothing that custodian could correct.
    """
    handlers = [
        standard.VaspErrorHandler(),
        standard.StdErrHandler(),
        standard.MeshSymmetryErrorHandler(),
        UnconvergedHandler(),
        standard.NonConvergingErrorHandler(),
        standard.PotimErrorHandler(),
        standard.FrozenJobErrorHandler(timeout=FROZEN_S),
    ]
    interval_s = MONITOR_S
    if deadline_s is not None:
        handlers.insert(0, DeadlineHandler(deadline_s, margin_s, electronic_step_stop=step != "relax"))
        interval_s = min(MONITOR_S, margin_s / 6)  # several looks between the wish to stop and the end
    job = VaspProcess(command, output_file=OUT, stderr_file=ERR, backup=False, auto_gamma=False)
    custodian = Custodian(
        handlers,
        [job],
        validators=[VasprunXMLValidator(), VaspFilesValidator()],
        max_errors=max_errors,
        polling_time_step=polling_s,
        monitor_freq=max(1, int(interval_s / polling_s)),
        directory=str(folder),
    )
    try:
        custodian.run()
    except (MaxCorrectionsError, MaxCorrectionsPerJobError, MaxCorrectionsPerHandlerError) as error:
        raise_machine_fault(folder, step, FROZEN_S)
        reason = f"{step}: not converged after {max_errors} corrections by custodian ({errors(folder)})"
        # it may resume from its last geometry
        raise EngineError(f"{reason}. {advice(folder)}", resumable=step == "relax") from error
    except NonRecoverableError as error:
        raise_machine_fault(folder, step, FROZEN_S)
        reason = f"{step}: custodian knows no further correction ({errors(folder)})"
        raise EngineError(f"{reason}. {advice(folder)}") from error
    except CustodianError as error:
        if not (folder / STOPPED).exists():
            raise crash(folder, step, job.returncode) from error
    finally:
        if job.returncode is None and hasattr(job, "_vasp_process"):
            job.terminate(str(folder))
    return not (folder / STOPPED).exists()
