"""A stand-in for VASP: reads its input files, writes its output files, knows no physics.

The density is that of Gaussian atoms with the POTCARs' numbers of electrons. A relaxation brings the lengths of the
cell to tenths of an ångström, 0.01 Å per ionic step, along a path on which any CONTCAR leads to the same last geometry:
a run that is stopped and goes on from its CONTCAR ends with the same bits. Each SCF step takes RHO2PROP_VASP_STEP_S
seconds. Faults: vasp_faults.py.
"""

import hashlib
import os
import resource
import signal
import stat
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from standins import vasp_density as density
from standins.vasp_faults import STEP_S, Ledger, due
from standins.vasp_files import Crystal, InputRefused, complete, k_mesh, read_incar, read_poscar, read_potcar
from standins.vasp_output import Output

LENGTH_GRID_ANG = 0.1
LENGTH_STEP_ANG = 0.01
DIGITS = 9
SCF_STEPS = {"first": 8, "restarted": 4, "later": 3}
ATOM_VOLUME_ANG3 = 250.0  # one atom in more than this is a free atom
LARGEST_FILE_BYTES = 10_000  # of a disk that is full
WAVECAR_RECORD_BYTES = 4096
LONGEST_HANG_S = 60.0  # a test that forgets a hanging run must not leave it for ever
BOX = " -----------------------------------------------------------------------------"


def ionic_path(crystal: Crystal) -> list[Crystal]:
    """Geometries of a relaxation, from this one to the last."""
    lengths = np.linalg.norm(crystal.lattice, axis=1)
    targets = np.round(lengths / LENGTH_GRID_ANG) * LENGTH_GRID_ANG
    change = np.abs(targets - lengths)
    last = np.round(crystal.lattice * np.where(change < 1e-7, 1.0, targets / lengths)[:, None], DIGITS)
    n_steps = int(np.ceil(change.max() / LENGTH_STEP_ANG - 1e-6))
    path = [crystal]
    for step in range(1, n_steps):
        scales = 1 + (targets / lengths - 1) * step / n_steps
        path.append(Crystal(crystal.lattice * scales[:, None], crystal.symbols, crystal.frac_coords))
    end = Crystal(last, crystal.symbols, np.round(crystal.frac_coords, DIGITS))
    return [*path, end] if n_steps > 0 else [end]


def energy_ev(crystal: Crystal) -> float:
    """Made up: cohesion per atom, a little more with more elements, strain off the cell that the relaxation seeks."""
    atoms = -sum(0.2 + 0.01 * density.ATOMIC_NUMBERS[symbol] for symbol in crystal.symbols)
    if is_free_atom(crystal):
        return atoms
    lengths = np.linalg.norm(crystal.lattice, axis=1)
    strain = lengths - np.round(lengths / LENGTH_GRID_ANG) * LENGTH_GRID_ANG
    cohesion_ev = 3.0 + 0.4 * len(crystal.counts)
    return float(atoms - len(crystal.symbols) * (cohesion_ev - (strain**2).sum()))


def is_free_atom(crystal: Crystal) -> bool:
    return len(crystal.symbols) == 1 and crystal.volume_ang3 > ATOM_VOLUME_ANG3


def moments_mub(crystal: Crystal, full: dict) -> list[float]:
    """NUPDOWN where it is set; else a large MAGMOM stays for four fifths and a small one dies out."""
    if full["ISPIN"] != 2:
        return [0.0] * len(crystal.symbols)
    if full.get("NUPDOWN", -1) >= 0:
        return [full["NUPDOWN"] / len(crystal.symbols)] * len(crystal.symbols)
    start = full.get("MAGMOM", [1.0] * len(crystal.symbols))
    return [0.8 * moment if abs(moment) > 1.0 else 0.0 for moment in start]


def wavecar_bytes(crystal: Crystal, n_spins: int, n_bands: int) -> bytes:
    """Records as in a WAVECAR of one k-point: lengths, numbers, then one per spin and one per band of each."""
    seed = hashlib.sha256(f"{crystal.formula} {len(crystal.symbols)} {n_spins} {n_bands}".encode()).digest()
    lengths = np.array([WAVECAR_RECORD_BYTES, n_spins, 45200.0])
    numbers = np.array([1.0, n_bands, 500.0, *crystal.lattice.ravel() * 0])  # the cell may change, the file stays valid
    records = [lengths.tobytes(), numbers.tobytes(), *[seed] * (n_spins * (1 + n_bands))]
    return b"".join(record.ljust(WAVECAR_RECORD_BYTES, record[-1:]) for record in records)


def stop_wanted(folder: Path) -> str:
    """LABORT or LSTOP of a STOPCAR; VASP removes the file where it may write to it."""
    path = folder / "STOPCAR"
    if not path.is_file():
        return ""
    text = path.read_text().upper()
    for word in ("LABORT", "LSTOP"):
        if word in text and ".T" in text.split(word, 1)[1]:
            if path.stat().st_mode & stat.S_IWUSR:
                path.unlink()
            return word
    return ""


def bug(output: Output | None, *lines: str) -> None:
    """VASP's box for fatal errors, then its exit code."""
    framed = "\n".join([BOX, *(f"|     {line:<70}  |" for line in lines), BOX])
    print(framed, flush=True)
    if output is not None:
        output.outcar.write(framed + "\n")
        output.close()
    raise SystemExit(1)


@dataclass
class Run:
    """One run of VASP in a folder."""

    folder: Path
    full: dict
    crystal: Crystal
    step: str
    faults: set[str]
    ledger: Ledger
    output: Output
    n_bands: int
    moments: list[float]
    restarted: bool
    stopped: str = ""

    def check_start(self, mesh: tuple[int, int, int]) -> None:
        """Stop on a WAVECAR that does not fit and where tetrahedra cannot be made."""
        if self.restarted and (self.folder / "WAVECAR").read_bytes() != self.wavecar():
            bug(self.output, "ERROR: while reading WAVECAR, plane wave coefficients changed", "1 1")
        if self.full["ISMEAR"] == -5 and ("tet" in self.faults or np.prod(mesh) < 4):
            self.ledger.add("fault tet")
            text = "Tetrahedron method fails (number of k-points < 4)"
            bug(self.output, "VERY BAD NEWS! internal error in subroutine IBZKPT:", text)

    def wavecar(self) -> bytes:
        """The WAVECAR that this run writes and that fits it."""
        return wavecar_bytes(self.crystal, self.full["ISPIN"], self.n_bands)

    def ionic_loop(self) -> bool:
        """All ionic steps, or as many as NSW or a STOPCAR allows; True where the last geometry was reached."""
        path = ionic_path(self.crystal) if self.step == "relax" else [self.crystal]
        n_steps = min(len(path), max(self.full["NSW"], 1))
        for ionic, self.crystal in enumerate(path[:n_steps], start=1):
            begin, energy = time.monotonic(), energy_ev(self.crystal)
            self.output.begin_ionic(ionic)
            self.electronic_loop(ionic, energy, middle=ionic == min(2, len(path)))
            self.output.end_ionic(ionic, self.crystal, energy, sum(self.moments), time.monotonic() - begin)
            following = self.crystal if self.stopped == "LABORT" else path[min(ionic, len(path) - 1)]
            density.write(self.folder / "CONTCAR", density.header(following))
            lengths = np.linalg.norm(self.crystal.lattice, axis=1).tolist()
            self.ledger.add("ionic", ionic=ionic, of=len(path), lengths=lengths)
            if self.stopped:
                return False
            if ionic < n_steps:
                self.output.end_calculation()
        return n_steps == len(path)

    def electronic_loop(self, ionic: int, energy: float, middle: bool) -> None:
        """The SCF steps of one ionic step; in the ``middle`` of a run the faults happen."""
        n_steps = SCF_STEPS["later" if ionic > 1 else "restarted" if self.restarted else "first"]
        step_s = float(os.environ.get(STEP_S, "0"))
        if "nelm" in self.faults:
            n_steps, step_s = self.full["NELM"], 0.0
            self.ledger.add("fault nelm")
        for scf in range(1, n_steps + 1):
            change = 0.1 if "nelm" in self.faults else 10.0**-scf
            self.output.electronic(ionic, scf, energy + change, -change)
            time.sleep(step_s)
            self.ledger.add("scf", ionic=ionic, scf=scf)
            if middle and scf == 2:
                self.make_faults(ionic, energy)
            self.stopped = self.stopped or stop_wanted(self.folder)
            if self.stopped == "LABORT":
                return

    def make_faults(self, ionic: int, energy: float) -> None:
        """The faults that end or hold up a run in its middle."""
        if "kill" in self.faults:
            self.ledger.add("fault kill")
            os.kill(os.getpid(), signal.SIGKILL)
        if "frozen" in self.faults:
            self.ledger.add("fault frozen")
            time.sleep(LONGEST_HANG_S)
            self.give_up()
        if "zbrent" in self.faults and self.full["IBRION"] == 2:
            self.ledger.add("fault zbrent")
            text = "please rerun with smaller EDIFF, or copy CONTCAR"
            bug(self.output, "ZBRENT: fatal error in bracketing", text, "to POSCAR and continue")
        if "walltime" in self.faults:
            self.ledger.add("fault walltime")
            self.go_on_until_stopped(ionic, energy)

    def go_on_until_stopped(self, ionic: int, energy: float) -> None:
        """SCF steps without end, each a tenth of a second, until the STOPCAR is there."""
        begin, scf = time.monotonic(), 2
        while not self.stopped:
            if time.monotonic() - begin > LONGEST_HANG_S:
                self.give_up()
            scf += 1
            self.output.electronic(ionic, scf, energy + 0.01, 0.01)
            time.sleep(0.1)
            self.stopped = stop_wanted(self.folder)

    def give_up(self) -> None:
        """Nobody ended a run that hangs: a test looks for this event."""
        self.ledger.add("nobody ended it")
        raise SystemExit(99)

    def write_results(self, valences: list[float]) -> None:
        """CHGCAR, AECCARs and WAVECAR at the end of the run, or the error of a full disk."""
        full, crystal, soft_hard = self.full, self.crystal, resource.getrlimit(resource.RLIMIT_FSIZE)
        converged = self.stopped != "LABORT" and "nelm" not in self.faults
        fields = density.densities(crystal, valences, sum(self.moments), converged)
        spin, no_spin = ([fields["spin"]], [0 * fields["spin"]]) if full["ISPIN"] == 2 else ([], [])
        files = {"CHGCAR": [fields["valence"], *spin]} if full["LCHARG"] else {}
        if full["LAECHG"]:
            files |= {"AECCAR0": [fields["core"], *no_spin], "AECCAR1": [fields["promolecule"], *no_spin]}
            files |= {"AECCAR2": [fields["valence"], *spin]}
        if "kill-writing" in self.faults:
            self.ledger.add("fault kill-writing")
            text = density.chgcar_text(crystal, files["CHGCAR"], augmentation=True)
            density.write(self.folder / "CHGCAR", text[: len(text) // 2])
            (self.folder / "WAVECAR").write_bytes(self.wavecar()[:-WAVECAR_RECORD_BYTES])
            os.kill(os.getpid(), signal.SIGKILL)
        if "disk-full" in self.faults:
            self.ledger.add("fault disk-full")
            resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE_BYTES, soft_hard[1]))  # a write fails for real
        try:
            for name, blocks in files.items():
                density.write(self.folder / name, density.chgcar_text(crystal, blocks, augmentation=name == "CHGCAR"))
            if full["LWAVE"]:
                (self.folder / "WAVECAR").write_bytes(self.wavecar())
        except OSError:
            resource.setrlimit(resource.RLIMIT_FSIZE, soft_hard)
            self.output.close()
            print("forrtl: No space left on device", file=sys.stderr)
            print("forrtl: severe (38): error during write, unit 18", file=sys.stderr)
            raise SystemExit(38) from None
        if "truncated-chgcar" in self.faults:
            self.ledger.add("fault truncated-chgcar")
            os.truncate(self.folder / "CHGCAR", int(0.6 * (self.folder / "CHGCAR").stat().st_size))


def main() -> None:
    """One run in the current folder."""
    folder = Path.cwd()
    try:
        incar = read_incar(folder / "INCAR")
        crystal = read_poscar(folder / "POSCAR")
        potentials = read_potcar(folder / "POTCAR", crystal)
    except (OSError, InputRefused) as error:
        bug(None, str(error))
    full = complete(incar)
    step = "atom" if is_free_atom(crystal) else "relax" if full["NSW"] > 0 and full["IBRION"] >= 0 else "static"
    ledger = Ledger(crystal.formula, step, folder)
    mesh = k_mesh(folder, full, crystal.lattice)
    valences = [p.n_valence for p, (_, count) in zip(potentials, crystal.blocks, strict=True) for _ in range(count)]
    n_electrons = float(full.get("NELECT", sum(valences)))
    n_bands = int(full.get("NBANDS", max(n_electrons // 2 + len(crystal.symbols) // 2 + 2, 0.6 * n_electrons)))
    moments = moments_mub(crystal, full)
    restarted = (folder / "WAVECAR").is_file() and full.get("ISTART", 1) != 0
    output = Output(folder, incar, full, potentials, mesh)
    run = Run(folder, full, crystal, step, due(ledger), ledger, output, n_bands, moments, restarted)
    ledger.add("start", restarted=restarted, ismear=full["ISMEAR"], ibrion=full["IBRION"], algo=full["ALGO"])
    output.begin(crystal, n_electrons, n_bands, int(np.prod(density.grid_shape(crystal.lattice))))
    run.check_start(mesh)
    finished = run.ionic_loop()
    if run.stopped:
        text = f" {'hard' if run.stopped == 'LABORT' else 'soft'} stop encountered!  aborting job ..."
        output.say(text)
        output.outcar.write(text + "\n")
    run.write_results(valences)
    output.end(run.crystal, moments, converged=step == "relax" and finished)
    ledger.add("end", stopped=run.stopped)


if __name__ == "__main__":
    main()
