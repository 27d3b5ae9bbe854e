"""Restart after an interruption: which files of a step can be trusted, and the state kept between attempts.

A kill may truncate any file that VASP or custodian was writing. So only complete files are used, and INCAR is not read
back: it is written again and the recorded corrections are applied to it.
"""

import hashlib
import json
import os
import platform
import shutil
import signal
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from pymatgen.core import Structure
from pymatgen.io.vasp.inputs import Incar, Poscar

from rho2prop.core.atomic_files import atomic
from rho2prop.core.errors import InputError
from rho2prop.densities.readers import parse_density
from rho2prop.dft.failures import Unfinished, job_failure
from rho2prop.dft.vasp.inputs import Preset, write_inputs
from rho2prop.dft.vasp.settings import VaspSettings

STATE = "state.json"
PROCESS = "vasp.process.json"  # session of processes in a folder
STOPPED = "stopped-before-deadline"  # in a folder: a stop was asked for
END_PATIENCE_S = 10.0
START_TIME_S = 0  # time of change of a CHGCAR that a run starts from: VASP's own is of today


@dataclass
class State:
    """State of the scratch folder of one material, saved at each change.

    Parameters
    ----------
    path
        ``state.json``.
    digest
        Of structure and protocol: files of another calculation are not taken over.
    walltime_stops
        How often the calculation was stopped before a time limit.
    finished
        Steps that are done: their folders hold the results.
    notes
        Corrections that custodian does not know of (a second start after a crash), by step.
    """

    path: Path
    digest: str
    walltime_stops: int = 0
    finished: list[str] = field(default_factory=list)
    notes: dict[str, list[str]] = field(default_factory=dict)

    def save(self) -> None:
        """Write the state, whole or not at all."""
        content = {key: value for key, value in asdict(self).items() if key != "path"}
        with atomic(self.path) as temporary:
            temporary.write_text(json.dumps(content), encoding="utf-8")


def load_state(scratch: Path, structure: Structure, preset: Preset, settings: VaspSettings) -> State:
    """The state of ``scratch``; a folder left by another structure or protocol is emptied first."""
    protocol = {"relax": settings.relax, "spin": settings.spin}
    sites = [
        structure.atomic_numbers,
        structure.lattice.matrix.round(8).tolist(),
        structure.frac_coords.round(8).tolist(),
    ]
    digest = hashlib.sha256(json.dumps([sites, asdict(preset), protocol]).encode()).hexdigest()
    path = scratch / STATE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["digest"] == digest:
            return State(path, **content)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        pass  # no state yet, or one of an older release; an unreadable disk must not empty the folder
    if scratch.exists():
        for folder in filter(Path.is_dir, scratch.iterdir()):
            end_orphans(folder)
        shutil.rmtree(scratch)
    scratch.mkdir(parents=True)
    state = State(path, digest)
    state.save()
    return state


def prepare_step(
    folder: Path,
    structure: Structure,
    preset: Preset,
    step: str,
    settings: VaspSettings,
    charge: Path | None = None,
) -> Incar:
    """Prepare the folder of a step for VASP: new, or from what an earlier attempt left there.

    Parameters
    ----------
    folder
        Folder of the step in the scratch folder.
    structure, preset, step, settings
        As in ``write_inputs``; ``structure`` is where the step starts if nothing is left of an earlier attempt.
    charge
        CHGCAR of another step to start from, used if there is no WAVECAR and it is whole.

    Returns
    -------
    Incar
        The preset's INCAR, without the corrections.
    """
    folder.mkdir(parents=True, exist_ok=True)
    end_orphans(folder)
    archive_record(folder)
    geometry = last_geometry(folder, structure) if step == "relax" else None
    for file in folder.iterdir():
        keep = file.name in ("WAVECAR", "CHGCAR", "CONTCAR") or file.name.startswith(("custodian-", "error."))
        if file.is_file() and not keep:  # an old STOPCAR would stop VASP, an old vasprun.xml would pass for a new one
            file.unlink()
    incar = write_inputs(geometry or structure, folder, preset, step, settings, potcar_spec=False)
    (folder / "POTCAR.spec").write_text("\n".join(_potcar_names(folder / "POTCAR")) + "\n", encoding="utf-8")
    started = corrected(incar, recorded(folder))
    started.update(_start_tags(folder, charge))
    started.write_file(folder / "INCAR")
    if (folder / "CHGCAR").exists():
        os.utime(folder / "CHGCAR", (START_TIME_S, START_TIME_S))
    (folder / "CONTCAR").unlink(missing_ok=True)  # last: until here it alone may hold the geometry
    return incar


def _start_tags(folder: Path, charge: Path | None) -> dict[str, int]:
    """Tags for where the SCF starts; a WAVECAR needs none, VASP finds it itself."""
    wavecar, chgcar = folder / "WAVECAR", folder / "CHGCAR"
    if is_whole_wavecar(wavecar):
        return {}
    wavecar.unlink(missing_ok=True)
    if not is_whole_chgcar(chgcar):
        chgcar.unlink(missing_ok=True)
        if charge is not None and is_whole_chgcar(charge):
            shutil.copyfile(charge, chgcar)
    return {"ICHARG": 1} if chgcar.exists() else {}


def was_written(chgcar: Path) -> bool:
    """Whether VASP wrote this CHGCAR, or it still is the one that the run started from."""
    return chgcar.is_file() and chgcar.stat().st_mtime != START_TIME_S


def _potcar_names(potcar: Path) -> list[str]:
    lines = potcar.read_text(encoding="utf-8").splitlines()
    return [line.split("=")[1].strip() for line in lines if line.strip().startswith("TITEL")]


def last_geometry(folder: Path, structure: Structure) -> Structure | None:
    """Geometry to resume from: CONTCAR, else the last POSCAR, if complete and of the same crystal."""
    for name in ("CONTCAR", "POSCAR"):
        found = whole_poscar(folder / name)
        if found is not None and found.composition == structure.composition:
            return found
    return None


def whole_poscar(path: Path) -> Structure | None:
    """Structure of a POSCAR or CONTCAR whose last coordinate was written to its end, else None."""
    try:
        text = path.read_text(encoding="utf-8")
        lines = text.split("\n")
        n_atoms = sum(int(word) for word in lines[6].split())
        # the line after the last atom exists only if that atom's line was ended
        if len(lines) < 9 + n_atoms or any(len(line.split()) < 3 for line in lines[8 : 8 + n_atoms]):
            return None
        structure = Poscar.from_str(text, read_velocities=False).structure
    except (FileNotFoundError, ValueError, IndexError, KeyError):
        return None
    if len(structure) != n_atoms or not np.isfinite(structure.lattice.matrix).all() or structure.volume < n_atoms:
        return None
    return structure


def is_whole_wavecar(path: Path) -> bool:
    """Whether a WAVECAR has the length that its header states.

    Records of RECL bytes: the first holds RECL, ISPIN and the precision, the second the numbers of k-points and bands;
    then one per spin and k-point and one per band of each (as pymatgen's Wavecar reads it).
    """
    try:
        with open(path, "rb") as file:
            record_bytes, n_spins, precision = np.fromfile(file, np.float64, 3)
            file.seek(int(record_bytes))
            n_kpoints, n_bands = np.fromfile(file, np.float64, 2)
        if precision not in (45200, 45210, 53300, 53310) or n_spins not in (1, 2):
            return False
        n_records = 2 + n_spins * n_kpoints * (1 + n_bands)
        return path.stat().st_size >= record_bytes * n_records
    except (OSError, ValueError, OverflowError):
        return False


def is_whole_chgcar(path: Path) -> bool:
    """Whether a CHGCAR can be read and holds a whole number of electrons."""
    try:
        parse_density(path)
    except InputError as error:
        if failure := job_failure(error, str(path)):
            raise failure from error  # not of the file
        return False
    return True


def archive_record(folder: Path) -> None:
    """Rename custodian's record: a new start of custodian begins an empty one."""
    path = folder / "custodian.json"
    if not path.exists():
        return
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        path.unlink()  # truncated by a kill: its content is found again when the error recurs
        return
    number = len(list(folder.glob("custodian-*.json"))) + 1
    os.replace(path, folder / f"custodian-{number:03d}.json")


def recorded(folder: Path) -> list[dict]:
    """Corrections of all attempts in this folder, oldest first, as custodian records them."""
    corrections = []
    for path in [*sorted(folder.glob("custodian-*.json")), folder / "custodian.json"]:
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            continue
        corrections += [correction for job in record for correction in job["corrections"]]
    return corrections


def corrected(incar: Incar, corrections: list[dict]) -> Incar:
    """The INCAR after the corrections on record."""
    result = Incar(incar)
    for correction in corrections:
        for action in correction["actions"] or []:
            if action.get("dict") == "INCAR":
                for tag, value in action["action"].get("_set", {}).items():
                    result[tag.upper()] = value
                for tag in action["action"].get("_unset", {}):
                    result.pop(tag.upper(), None)
    return result


def record_process(folder: Path, session: int) -> None:
    """Record which session of processes runs in this folder."""
    content = {"session": session, "host": platform.node()}
    (folder / PROCESS).write_text(json.dumps(content), encoding="utf-8")


def end_orphans(folder: Path) -> None:
    """End processes that a killed attempt left running in this folder.

    Only on this machine, and only where /proc shows the session and the folder of a process.
    """
    try:
        content = json.loads((folder / PROCESS).read_text(encoding="utf-8"))
        session, host = content["session"], content["host"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return
    patience = time.monotonic() + END_PATIENCE_S
    while host == platform.node() and (found := _processes(session, folder)):
        for process in found:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if time.monotonic() > patience:
            fix = "End them, then start the workflow again"
            raise Unfinished(folder, f"processes {found} of an earlier attempt still work in it", fix)
        time.sleep(0.05)
    (folder / PROCESS).unlink()


def _processes(session: int, folder: Path) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            state, its_session = fields[0], int(fields[3])
            if its_session == session and state != "Z" and (process / "cwd").resolve() == folder.resolve():
                found.append(int(process.name))
        except (OSError, ValueError, IndexError):
            continue  # ended meanwhile, or not ours
    return found
