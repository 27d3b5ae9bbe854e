"""Results of VASP and custodian: convergence, energy, density, deviations from the protocol."""

import re
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Structure
from pymatgen.io.vasp.inputs import Incar
from pymatgen.io.vasp.outputs import Vasprun

from rho2prop.core.errors import InputError
from rho2prop.crystals.structures import checked_structure, structure_from_density
from rho2prop.densities.chgcar_reader import read_chgcar
from rho2prop.densities.density import ELECTRON_TOLERANCE, Density
from rho2prop.densities.readers import parse_density
from rho2prop.densities.same_crystal import check_same_crystal
from rho2prop.dft.failures import EngineError, SetupError
from rho2prop.dft.vasp.causes import ADVICE, ERR, OUT, Crashed, tail
from rho2prop.dft.vasp.restart import recorded, was_written

VOLUME_CHANGE = (0.5, 2.0)  # of a relaxation: beyond that the cell is lost
GRID_ERROR = 1e-2  # of the number of electrons, in the AECCARs' sum over their grid
PARAMETER_NAMES = {"ENCUT": "ENMAX"}  # where vasprun.xml calls a tag by another name
SMALL_FILES = ("INCAR", "KPOINTS", "POSCAR", "POTCAR.spec")
REACHED = "reached required accuracy"  # what VASP writes into OUTCAR at the end of a converged relaxation
ACCOUNT = "General timing and accounting"
LONGEST_LOG_BYTES = 100_000


@dataclass(frozen=True)
class StepResult:
    """One finished run of VASP.

    Parameters
    ----------
    structure
        Final geometry.
    energy_ev
        "energy(sigma->0)" of the last ionic step, in eV per cell.
    magnetic_moment_mub
        Total moment of the cell in μB; None without spin polarisation.
    n_electrons
        Valence electrons: NELECT, which is the sum of the POTCARs' ZVAL.
    version
        Version of VASP.
    tags
        What VASP understood of INCAR: vasprun.xml's parameters over its incar.
    """

    structure: Structure
    energy_ev: float
    magnetic_moment_mub: float | None
    n_electrons: float
    version: str
    tags: dict


def was_stopped(folder: Path) -> bool:
    """Whether a STOPCAR ended the run before convergence; pymatgen takes such a run for converged."""
    return _says(folder / "OUTCAR", "stop encountered") and not _says(folder / "OUTCAR", REACHED)


def has_ended(folder: Path) -> bool:
    """Whether OUTCAR is complete: VASP ends it with its account of time and memory."""
    return ACCOUNT in tail(folder / "OUTCAR", 20_000)


def _says(path: Path, text: str) -> bool:
    if not path.exists():
        return False
    with open(path, encoding="utf-8", errors="replace") as file:
        return any(text in line for line in file)


def read_step(folder: Path, step: str) -> StepResult:
    """Read and check a finished run.

    Raises
    ------
    EngineError
        VASP finished without a converged result.
    Crashed
        A file is truncated or missing: VASP did not finish, or could not write.
    SetupError
        The preset does not ask for a ground state.
    """
    if not (folder / "vasprun.xml").is_file():
        raise Crashed(f"{step}: there is no vasprun.xml")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about POTCARs and DOS, which are not read
            run = Vasprun(folder / "vasprun.xml", parse_dos=False, parse_eigen=False, parse_potcar_file=False)
    except (MemoryError, OSError):
        raise  # no fault of the file
    except Exception as error:  # whatever a cut file triggers in the parser
        path = folder / "vasprun.xml"
        if tail(path).rstrip().endswith("</modeling>") and not _says(path, "<scstep>"):
            raise _no_ground_state(folder, step) from error
        raise Crashed(f"{step}: vasprun.xml cannot be read ({type(error).__name__}: {error})") from error
    if not run.ionic_steps or not run.ionic_steps[-1].get("electronic_steps"):
        raise _no_ground_state(folder, step)
    if not run.converged_electronic:
        n_steps = len(run.ionic_steps[-1]["electronic_steps"])
        raise EngineError(f"{step}: SCF not converged in {n_steps} steps. {ADVICE['Unconverged']}")
    if not run.converged_ionic:
        problem = f"forces not converged in {len(run.ionic_steps)} ionic steps"
        raise EngineError(f"{step}: {problem}. Start from a better geometry or raise NSW in a preset of your own")
    if step == "relax" and not _says(folder / "OUTCAR", REACHED):  # pymatgen only counts the steps
        if not has_ended(folder):
            raise Crashed(f"{step}: OUTCAR is cut off (it lacks VASP's account of time and memory)")
        problem = f"VASP ended after {len(run.ionic_steps)} ionic steps and did not reach EDIFFG"
        raise EngineError(f"{step}: {problem}. Start from a better geometry or raise NSW in a preset of your own")
    energy_ev = float(run.final_energy)
    if not np.isfinite(energy_ev):
        raise EngineError(f"{step}: vasprun.xml has no total energy")
    structure = checked_structure(run.final_structure, folder / "vasprun.xml")
    n_electrons = valence_electrons(folder)
    nelect = float(run.parameters.get("NELECT", n_electrons))
    if abs(nelect - n_electrons) > ELECTRON_TOLERANCE:
        raise EngineError(f"{step}: VASP counts {nelect:.4f} electrons, the POTCARs hold {n_electrons:.4f}")
    moment = _magnetic_moment_mub(folder) if run.parameters.get("ISPIN", 1) == 2 else None
    tags = {key.upper(): value for key, value in {**run.incar, **run.parameters}.items()}
    tags |= {tag: run.parameters[name] for tag, name in PARAMETER_NAMES.items() if name in run.parameters}
    return StepResult(structure, energy_ev, moment, n_electrons, str(run.vasp_version).split()[0], tags)


def _no_ground_state(folder: Path, step: str) -> SetupError:
    """Error for a preset that asks for something else (BSE, GW, optics alone): there is no SCF cycle."""
    incar = Incar.from_file(folder / "INCAR")
    asked = ", ".join(f"{tag} = {incar[tag]}" for tag in ("ALGO", "LOPTICS", "NELM") if tag in incar)
    problem = f"{step}: vasprun.xml holds no self-consistency cycle (INCAR: {asked or 'no ALGO'})"
    fix = "Use a preset whose INCAR asks for a ground state (ALGO Normal, Fast or All; no BSE, GW, CHI or optics alone)"
    return SetupError("dft.vasp.preset", problem, fix)


def valence_electrons(folder: Path) -> float:
    """Sum of ZVAL over the atoms, from POTCAR and POSCAR."""
    text = (folder / "POTCAR").read_text(encoding="utf-8", errors="replace")
    valences = [float(value) for value in re.findall(r"ZVAL\s*=\s*([\d.]+)", text)]
    counts = [int(count) for count in (folder / "POSCAR").read_text(encoding="utf-8").splitlines()[6].split()]
    if len(valences) != len(counts):
        raise EngineError(f"POTCAR holds {len(valences)} potentials, POSCAR {len(counts)} blocks of atoms")
    return sum(valence * count for valence, count in zip(valences, counts, strict=True))


def _magnetic_moment_mub(folder: Path) -> float | None:
    found = re.findall(r"mag=\s*([-+]?\d*\.?\d+(?:[Ee][-+]?\d+)?)\s", tail(folder / "OSZICAR"))
    return float(found[-1]) if found else None


def require_plausible(before: Structure, after: Structure) -> None:
    """Raise EngineError where a relaxation lost its crystal."""
    if after.composition != before.composition:
        raise EngineError(f"relax: ended with {after.formula}, expected {before.formula}")
    ratio = after.volume / before.volume
    if not VOLUME_CHANGE[0] < ratio < VOLUME_CHANGE[1]:
        volumes = f"{before.volume:.1f} → {after.volume:.1f} Å³"
        raise EngineError(f"relax: the cell is lost (volume {volumes}): check the structure")


def read_static_density(folder: Path, result: StepResult, promolecule: bool) -> tuple[Density, list[str]]:
    """Density of the static run, checked against structure and number of electrons.

    Parameters
    ----------
    folder
        With CHGCAR and, for the promolecule, AECCAR1 and AECCAR2.
    result
        What ``read_step`` read there.
    promolecule
        Also read the promolecule, CHGCAR − (AECCAR2 − AECCAR1): AECCAR2 is the valence density with its true
        nodes near the nuclei, AECCAR1 the atoms' densities in the same form, so that their difference is that of the
        smooth densities, and the promolecule so defined belongs to CHGCAR.

    Returns
    -------
    tuple[Density, list[str]]
        Density of kind "valence", and what had to be fixed.

    Raises
    ------
    InputError
        A file is truncated or damaged.
    EngineError
        The files are complete, but do not hold the right number of electrons.
    """
    if not was_written(folder / "CHGCAR"):
        raise InputError(folder / "CHGCAR", "was not written by the run", "Compute it again", code="stale")
    density = parse_density(folder / "CHGCAR")
    check_same_crystal(structure_from_density(density), result.structure, folder / "CHGCAR")
    if abs(density.n_electrons - result.n_electrons) > ELECTRON_TOLERANCE * max(result.n_electrons, 1.0):
        expected = f"expected {result.n_electrons:.3f} (Σ ZVAL)"
        raise EngineError(f"static: CHGCAR integrates to {density.n_electrons:.3f} electrons, {expected}")
    density = replace(density, engine=f"vasp {result.version}")
    if not promolecule:
        return density, []
    difference = read_aeccar(folder / "AECCAR2") - read_aeccar(folder / "AECCAR1")
    if difference.shape != density.values.shape:
        raise EngineError(f"static: AECCAR has the grid {difference.shape}, CHGCAR {density.values.shape}")
    difference /= density.volume_ang3
    surplus = float(difference.mean()) * density.volume_ang3
    notes = []
    if abs(surplus) > GRID_ERROR * density.n_electrons:
        problem = f"AECCAR2 − AECCAR1 integrates to {surplus:.3f} electrons, expected 0"
        raise EngineError(f"static: {problem}: the files do not belong together")
    if abs(surplus) > 0.5 * ELECTRON_TOLERANCE * max(density.n_electrons, 1.0):
        difference -= surplus / density.volume_ang3
        notes.append(f"static: promolecule: {surplus:+.4f} electrons of the AECCARs' grid error spread evenly")
    values = (density.values - difference).astype(density.values.dtype)
    return replace(density, promolecule=values), notes


def read_aeccar(path: Path) -> np.ndarray:
    """Values of an AECCAR, density times volume of the cell, shape (nx, ny, nz); InputError if it is cut."""
    if not path.is_file():
        raise InputError(path, "there is no such file", "The file may be cut off: compute it again", code="missing")
    values = read_chgcar(path).total
    if not np.isfinite(values).all():
        raise InputError(path, "holds a number that is not finite", "Compute it again")
    return values


def corrections_of(folder: Path, step: str, incar: Incar) -> list[str]:
    """One line for each of custodian's corrections, all attempts: "relax: zbrent: IBRION 2 → 1".

    Parameters
    ----------
    folder, step
        Folder and name of the step.
    incar
        The preset's INCAR.
    """
    lines, tags = [], dict(incar)
    for correction in recorded(folder):
        changes = []
        for action in correction["actions"] or []:
            if action.get("dict") == "INCAR":
                for tag, value in action["action"].get("_set", {}).items():
                    changes.append(f"{tag.upper()} {_text(tags.get(tag.upper()))} → {_text(value)}")
                    tags[tag.upper()] = value
                for tag in action["action"].get("_unset", {}):
                    changes.append(f"{tag.upper()} {_text(tags.pop(tag.upper(), None))} → default")
            elif "dict" in action:
                changes.append(f"{action['dict']} changed ({', '.join(action['action'].get('_set', {}))})")
            else:
                changes += [_file_change(action["file"], name, detail) for name, detail in action["action"].items()]
        if changes:
            lines.append(f"{step}: {', '.join(map(str, correction['errors']))}: {', '.join(changes)}")
    return lines


def protocol_changes_of(folder: Path, step: str, incar: Incar, tags: Mapping, protocol_tags: list[str]) -> list[str]:
    """Deviations from the preset that change what the result means, by custodian or by VASP itself.

    Parameters
    ----------
    folder, step, incar
        As in ``corrections_of``.
    tags
        What the run really had: ``StepResult.tags`` or, where there is no result, the corrected INCAR.
    protocol_tags
        The tags that matter; EDIFF and EDIFFG only where they are looser.
    """
    changes = []
    for tag in protocol_tags:
        old, new = incar.get(tag), tags.get(tag)
        if tag not in incar:
            # VASP lists its defaults among the parameters: only what custodian set is a change
            new = _last_set(folder, tag)
        if new is None or _same(old, new) or (tag == "SIGMA" and old is None):
            continue
        if tag in ("EDIFF", "EDIFFG") and abs(float(new)) <= abs(float(old)) and float(new) * float(old) > 0:
            continue
        changes.append(f"{tag} {_text(old)} → {_text(new)} ({step} run)")
    touched = {action["dict"] for c in recorded(folder) for action in c["actions"] or [] if "dict" in action}
    if "KPOINTS" in touched and "KPOINTS" in protocol_tags:
        changes.append(f"KPOINTS changed ({step} run)")
    if "POSCAR" in touched and step != "relax":
        changes.append(f"POSCAR changed ({step} run)")
    return changes


def _last_set(folder: Path, tag: str) -> object:
    values = [
        action["action"]["_set"][tag]
        for correction in recorded(folder)
        for action in correction["actions"] or []
        if action.get("dict") == "INCAR" and tag in action["action"].get("_set", {})
    ]
    return values[-1] if values else None


def _same(old: Any, new: Any) -> bool:
    if isinstance(old, str) or isinstance(new, str):
        return str(old).strip().lower()[:4] == str(new).strip().lower()[:4]  # VASP writes "accura"
    if old is None or isinstance(old, list) or isinstance(new, list):
        return old == new
    return bool(np.isclose(float(old), float(new), rtol=1e-6, atol=0))


def _text(value: object) -> str:
    if value is None:
        return "unset"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _file_change(file: str, name: str, detail: dict) -> str:
    if name == "_file_copy":
        return f"{file} → {detail['dest']}"
    return f"{file} {name.removeprefix('_file_')}d"


def keep_logs(folder: Path, target: Path) -> None:
    """Copy the small text files of a step that contain no part of a POTCAR.

    INCAR, KPOINTS, POSCAR, the names of the POTCARs, custodian's records, the ends of OSZICAR, vasp.out and
    std_err.txt; of OUTCAR, which repeats parts of the POTCARs, only the account of time and memory at its end.
    """
    target.mkdir(parents=True, exist_ok=True)
    for path in [*(folder / name for name in SMALL_FILES), *folder.glob("custodian*.json")]:
        if path.is_file() and path.stat().st_size < LONGEST_LOG_BYTES:
            shutil.copyfile(path, target / path.name)
    for name in ("OSZICAR", OUT, ERR):
        if text := tail(folder / name, LONGEST_LOG_BYTES):
            (target / name).write_text(text, encoding="utf-8")
    account = tail(folder / "OUTCAR", 20_000).partition(ACCOUNT)
    if account[1]:
        (target / "OUTCAR.account").write_text(account[1] + account[2], encoding="utf-8")
