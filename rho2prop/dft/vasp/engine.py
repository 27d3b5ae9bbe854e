"""Engine "vasp": the paper's protocol with VASP under custodian.

What is run, and where
----------------------
``compute`` works in ``task.resources.scratch`` (a folder that outlives an attempt), one folder per step:

``relax/``
    Relaxation of cell and ions; skipped with ``relax: false``.
``static/``
    The density on the final geometry: CHGCAR and, for the promolecule, AECCAR1 and AECCAR2.
``atom/``
    ``compute_atom``: the free atom in its box.

VASP is started in such a folder as ``<launch> <binary>`` without arguments; there it finds INCAR, POSCAR, POTCAR and
(atom only) KPOINTS, and its standard output goes to ``vasp.out``, its error output to ``std_err.txt``. ``{threads}``
in ``launch`` becomes the number of ranks. Of what it writes these are read: vasprun.xml, OUTCAR, OSZICAR, CONTCAR,
CHGCAR, AECCAR1, AECCAR2, WAVECAR. Between attempts ``state.json`` in the scratch folder says what is finished.

Where POTCARs are: ``PMG_VASP_PSP_DIR``, as pymatgen wants it. They and every file that holds part of them stay in the
scratch folder and are deleted with it; the result folder gets INCAR, KPOINTS, POSCAR, OSZICAR, POTCAR.spec (names
only), the records of custodian and the ends of vasp.out, std_err.txt and of OUTCAR's account of time and memory.

The energy is VASP's "energy(sigma->0)", E0, of the density run (of the atom: of its only run).
"""

import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version as installed
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from pymatgen.core import Structure

from rho2prop.core.errors import InputError
from rho2prop.densities.density import Density
from rho2prop.dft.base import Calculation, Task
from rho2prop.dft.failures import EngineError, SetupError, Unfinished, job_failure
from rho2prop.dft.vasp.causes import Crashed
from rho2prop.dft.vasp.inputs import STEPS, Preset, incar_tags, load_preset, potcar_library
from rho2prop.dft.vasp.output import (
    StepResult,
    corrections_of,
    has_ended,
    keep_logs,
    protocol_changes_of,
    read_static_density,
    read_step,
    require_plausible,
    was_stopped,
)
from rho2prop.dft.vasp.restart import State, corrected, load_state, prepare_step, recorded
from rho2prop.dft.vasp.run import run_vasp
from rho2prop.dft.vasp.settings import VaspSettings

Settings = VaspSettings
STARTS = 2  # of a step: one restart after a crash or a truncated density
Output = TypeVar("Output")


def version(settings: VaspSettings) -> str:
    """Versions of the packages that drive VASP; VASP's own is in its output (``Calculation.engine_version``)."""
    return f"VASP under custodian {installed('custodian')}, pymatgen {installed('pymatgen')}"


def compute(task: Task, settings: VaspSettings, work_dir: Path) -> Calculation:
    """Relax the structure, then compute the density of the final geometry.

    Parameters
    ----------
    task
        Material; with ``resources.scratch`` an interrupted calculation can resume.
    settings
        Settings of the engine.
    work_dir
        Folder for the logs, ``relax/`` and ``static/``.

    Raises
    ------
    EngineError
        No density to be trusted; the text says why.
    Unfinished
        Stopped before ``task.resources.deadline_s``, killed, out of memory or disk: the next attempt resumes.
    SetupError
        This machine has no VASP or no POTCARs, or VASP cannot start.
    """
    with _session(task, settings, work_dir) as run:
        structure, charge = task.structure, None
        if settings.relax:
            relaxed = run.step("relax", structure, lambda folder, result: result.structure)
            require_plausible(structure, relaxed)
            structure, charge = relaxed, run.scratch / "relax" / "CHGCAR"

        def read(folder: Path, result: StepResult) -> tuple[StepResult, Density, list[str]]:
            return result, *read_static_density(folder, result, settings.promolecule)

        result, density, notes = run.step("static", structure, read, charge)
        corrections, protocol_changes = run.deviations()
        return Calculation(
            density=density,
            energy_ev=result.energy_ev,
            corrections=[*corrections, *notes],
            protocol_changes=protocol_changes,
            magnetic_moment_mub=result.magnetic_moment_mub,
            engine_version=f"VASP {result.version}",
        )


def compute_atom(task: Task, settings: VaspSettings, work_dir: Path) -> Calculation:
    """Energy of one free atom: spin-polarised, NUPDOWN by Hund's rules (table of the preset), Γ alone."""
    with _session(task, settings, work_dir) as run:
        result = run.step("atom", task.structure, lambda folder, result: result)
        corrections, protocol_changes = run.deviations()
        return Calculation(
            density=None,
            energy_ev=result.energy_ev,
            corrections=corrections,
            protocol_changes=protocol_changes,
            magnetic_moment_mub=result.magnetic_moment_mub,
            engine_version=f"VASP {result.version}",
        )


@dataclass
class _Session:
    """One attempt at one material: its folders and the actual tags of each finished step."""

    task: Task
    settings: VaspSettings
    preset: Preset
    scratch: Path
    state: State
    work_dir: Path
    tags: dict[str, dict] = field(default_factory=dict)

    def step(
        self,
        step: str,
        structure: Structure,
        read: Callable[[Path, StepResult], Output],
        charge: Path | None = None,
    ) -> Output:
        """Run one step, or take its result from an earlier attempt.

        Parameters
        ----------
        step, structure, charge
            As in ``prepare_step``.
        read
            Takes what is needed from the folder of the finished run; where it finds a cut file the step is run again.
        """
        folder = self.scratch / step
        try:
            if step in self.state.finished:
                try:
                    return self._result(folder, step, read)
                except (EngineError, Crashed) as error:
                    self._note(step, f"{error}: run again")
                    self.state.finished.remove(step)
            for start in range(1, STARTS + 1):
                try:
                    self._run(folder, step, structure, charge)
                    output = self._result(folder, step, read)
                    break
                except Crashed as error:
                    for name in ("WAVECAR", "CHGCAR"):  # in case it died of them
                        (folder / name).unlink(missing_ok=True)
                    if start == STARTS or not error.again:
                        raise error.verdict(self.task.material_id, start) from error
                    self._note(step, f"{error}: started again")
            self.state.finished.append(step)
            self.state.save()
            return output
        finally:
            keep_logs(folder, self.work_dir / step)

    def deviations(self) -> tuple[list[str], list[str]]:
        """Corrections of all steps and attempts, and those of them that change what the result means."""
        corrections, protocol_changes = [], []
        for step in STEPS:
            folder = self.scratch / step
            if not folder.exists():
                continue
            incar = incar_tags(self.task.structure, self.preset, step, self.settings)
            tags = self.tags.get(step) or corrected(incar, recorded(folder))
            corrections += [*corrections_of(folder, step, incar), *self.state.notes.get(step, [])]
            protocol_changes += protocol_changes_of(folder, step, incar, tags, self.preset.protocol_tags)
        return corrections, protocol_changes

    def _result(self, folder: Path, step: str, read: Callable[[Path, StepResult], Output]) -> Output:
        result = read_step(folder, step)
        self.tags[step] = result.tags
        try:
            return read(folder, result)
        except InputError as error:
            if failure := job_failure(error, self.task.material_id):
                raise failure from error  # our own lack of memory does not justify running VASP again
            raise Crashed(f"{step}: {error}".replace(f"{folder}/", "")) from error

    def _run(self, folder: Path, step: str, structure: Structure, charge: Path | None) -> None:
        settings, deadline_s = self.settings, self.task.resources.deadline_s
        if deadline_s is not None and time.time() > deadline_s - settings.machine.walltime_margin_s:
            self._stopped(step)
        prepare_step(folder, structure, self.preset, step, settings, charge)
        command = _command(self.task, settings, step)
        limits = (settings.max_errors, settings.machine.polling_s, deadline_s, settings.machine.walltime_margin_s)
        completed = run_vasp(folder, step, command, *limits)
        if was_stopped(folder):
            self._stopped(step)
        if not completed:
            if not has_ended(folder):
                self._stopped(step)
            try:  # the time ran out, but the run may have come to its end by itself
                read_step(folder, step)
            except (EngineError, InputError, Crashed):
                self._stopped(step)

    def _stopped(self, step: str) -> None:
        """Raise the error for a stop at the time limit, or for too many of them."""
        self.state.walltime_stops += 1
        stops, most = self.state.walltime_stops, self.settings.max_walltime_stops
        if stops > most:
            self.state.walltime_stops = 0  # a deliberate restart gets all attempts again
            self.state.save()
            reason = f"{step}: stopped before the end of the job {stops} times (dft.vasp.max_walltime_stops is {most})"
            raise EngineError(f"{reason}: give the rule more time", resumable=True)
        self.state.save()
        problem = f"stopped in step {step} before the end of the job (stop {stops} of {most})"
        fix = "Start the workflow again, which resumes there"
        if self.task.resources.scratch is None:
            fix = "Give it more time: without a scratch folder it starts from the beginning"
        raise Unfinished(self.task.material_id, problem, fix, code="walltime")

    def _note(self, step: str, text: str) -> None:
        self.state.notes.setdefault(step, []).append(" ".join(text.split()))
        self.state.save()


@contextmanager
def _session(task: Task, settings: VaspSettings, work_dir: Path) -> Iterator[_Session]:
    """The scratch folder with its state; errors leave with the corrections that were tried."""
    preset = load_preset(settings.preset)
    _require_machine(task, settings)
    with TemporaryDirectory(prefix="vasp-", dir=work_dir) as temporary:
        scratch = (task.resources.scratch or Path(temporary)).absolute()
        run = None
        try:
            run = _Session(
                task, settings, preset, scratch, load_state(scratch, task.structure, preset, settings), work_dir
            )
            yield run
        except EngineError as error:
            if run is not None:
                error.corrections, error.protocol_changes = run.deviations()
            raise


def _command(task: Task, settings: VaspSettings, step: str) -> list[str]:
    """Command that starts VASP; ``{threads}`` in ``launch`` is the number of ranks."""
    binary = (step == "atom" and settings.machine.atom_binary) or settings.machine.binary
    return [
        *shlex.split(settings.machine.launch.replace("{threads}", str(task.resources.threads))),
        *shlex.split(binary),
    ]


def _require_machine(task: Task, settings: VaspSettings) -> None:
    """Raise SetupError if this machine cannot run VASP: the material gets no outcome."""
    library = potcar_library()
    if library is None or not Path(library).expanduser().is_dir():
        problem = f"is {library!r}, which is not a folder" if library else "is not set"
        raise SetupError("PMG_VASP_PSP_DIR", problem, "Set it to the folder of your POTCARs (pmg config -p)")
    program = _command(task, settings, "")[0]
    if shutil.which(program) is None:
        fix = "Load the module of VASP, or correct dft.vasp.machine.binary and launch"
        raise SetupError(program, "is not found on this machine", fix, code="missing")
