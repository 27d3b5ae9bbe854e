"""Only what belongs to the material becomes an outcome; memory, disk, set-up and bugs fail the job."""

import errno
import json
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp.inputs import Poscar
from standins.gpaw_settings import COARSE, FCC
from standins.refusals import lacking, refused

from rho2prop.core.errors import InputError
from rho2prop.densities.density import write_npz
from rho2prop.dft.base import Resources, run_atom, run_material
from rho2prop.dft.failures import EngineError, SetupError, Unfinished
from rho2prop.dft.files import FilesSettings
from rho2prop.dft.outcome import read_outcome

pytest.importorskip("gpaw")
engine = import_module("rho2prop.dft.gpaw.engine")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
SETTINGS = replace(COARSE, ecut_ev=150, k_spacing_per_ang=2.0, spin="none", max_iterations=60, atom_box_ang=5.0)
ALUMINIUM = Structure(FCC * 4.05, ["Al"], [[0, 0, 0]])


def run(folder, structure=ALUMINIUM, engine="gpaw", density=None, settings=SETTINGS):
    Poscar(structure).write_file(folder / "m.vasp")
    return run_material(
        "m", folder / "m.vasp", density, engine, settings, folder / "out", Resources(scratch=folder / "s")
    )


def wrapped(cause: Exception) -> InputError:
    """An error as a reader gives it, which wraps all that its parser raises."""
    error = InputError("m.vasp", "cannot be read", "Check it")
    error.__cause__ = cause
    return error


def raised_by_the_engine(monkeypatch, error):
    def compute(task, settings, work_dir):
        task.resources.scratch.mkdir(exist_ok=True)
        (task.resources.scratch / "CONTCAR").write_text("half way")
        raise error

    monkeypatch.setattr(engine, "compute", compute)
    monkeypatch.setattr(engine, "compute_atom", compute)


@pytest.mark.parametrize(
    ("error", "kind", "code", "data"),
    [
        (MemoryError("Unable to allocate 3 GiB"), Unfinished, "memory", ["Unable to allocate 3 GiB"]),
        (wrapped(MemoryError()), Unfinished, "memory", ["MemoryError"]),
        (OSError(errno.ENOSPC, "No space left on device", "/data/x"), Unfinished, "disk_full", ["/data/x"]),
        (wrapped(OSError(errno.EDQUOT, "Disk quota exceeded")), Unfinished, "disk_full", []),
        (OSError(errno.EIO, "Input/output error"), Unfinished, "system", ["Input/output error"]),
        (wrapped(OSError(errno.ESTALE, "Stale file handle")), Unfinished, "system", ["Stale file handle"]),
        (PermissionError(errno.EACCES, "Permission denied", "/data"), SetupError, "permission", ["/data"]),
        (BrokenProcessPool("a child was terminated abruptly"), Unfinished, "killed", []),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), Unfinished, "system", []),
        (ModuleNotFoundError("No module named 'gpaw'"), SetupError, "import", ["gpaw"]),
        (RuntimeError("a bug"), RuntimeError, None, ["a bug"]),
        (KeyError("a bug"), KeyError, None, ["a bug"]),
    ],
)
def test_what_another_attempt_or_a_repair_can_fix_leaves_no_outcome(tmp_path, monkeypatch, error, kind, code, data):
    raised_by_the_engine(monkeypatch, error)
    with refused(*data, code=code, by=kind):
        run(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "m.vasp",
        "s",
    ]  # the next attempt has its scratch folder
    with refused(*data, code=code, by=kind):
        run_atom("Al", "gpaw", SETTINGS, tmp_path / "atom", Resources(scratch=tmp_path / "s"))
    assert not (tmp_path / "atom").exists()


@pytest.mark.parametrize(
    "error",
    [
        EngineError("no convergence"),
        wrapped(ValueError("could not convert string to float")),
        wrapped(FileNotFoundError(errno.ENOENT, "No such file", "m.cif")),
        wrapped(OSError("Not a gzipped file")),  # without an error number: of the file, not of the system
    ],
)
def test_what_the_next_attempt_would_find_again_is_an_outcome(tmp_path, monkeypatch, error):
    raised_by_the_engine(monkeypatch, error)
    assert (run(tmp_path).status, read_outcome(tmp_path / "out").reason) == ("failed", str(error))
    assert not (tmp_path / "s").exists()
    outcome = run_atom("Al", "gpaw", SETTINGS, tmp_path / "atom", Resources(scratch=tmp_path / "s"))
    assert (outcome.status, outcome.reason) == ("failed", str(error))


PROGRAM = """
import json, resource, sys
from pathlib import Path
from rho2prop.dft.base import engine_settings, run_material
from rho2prop.core.jobs.log import logged
folder, settings, engine, density, limit, amount = sys.argv[1:]
section = json.loads(settings)
settings = engine_settings(engine, section)
if limit == "memory":  # what libraries take once and for all is taken before the limit
    run_material("m", folder + "/m.vasp", None, engine, settings, folder + "/small")
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + int(amount),) * 2)
    settings = engine_settings(engine, section | {"ecut_ev": 1500})
elif limit == "file":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(amount),) * 2)
with logged(folder + "/log"):
    run_material("m", folder + "/m.vasp", density or None, engine, settings, folder + "/out")
"""


def limited(folder, settings, engine, density, limit, amount) -> subprocess.CompletedProcess:
    arguments = [str(folder), json.dumps(settings), engine, str(density), limit, str(amount)]
    return subprocess.run([sys.executable, "-c", PROGRAM, *arguments], cwd=ROOT, capture_output=True, text=True)


def test_gpaw_without_memory_fails_the_job_with_one_line(tmp_path):
    Poscar(ALUMINIUM).write_file(tmp_path / "m.vasp")
    finished = limited(tmp_path, asdict(SETTINGS), "gpaw", "", "memory", 2_000_000)
    assert finished.returncode == 1
    assert not lacking(finished.stderr, "m", "mem_mb")
    assert "Traceback" not in finished.stderr
    assert not list(tmp_path.glob("*out*"))


def test_a_disk_that_fills_while_the_density_is_written_fails_the_job(density, tmp_path):
    density = replace(density, numbers=np.array([3, 15]))  # whose potentials can give 3 + 5 electrons
    Poscar(Structure(density.lattice, density.numbers, density.frac_coords)).write_file(tmp_path / "m.vasp")
    write_npz(density, tmp_path / "d.npz")
    settings = {"kind": density.kind, "promolecule": "as_given"}
    for amount, returncode in ((8_000, 1), (10_000_000, 0)):
        finished = limited(tmp_path, settings, "files", tmp_path / "d.npz", "file", amount)
        assert finished.returncode == returncode, finished.stderr
        assert (f"Errno {errno.EFBIG}" in finished.stderr) == (returncode == 1)
        assert (tmp_path / "out").exists() == (returncode == 0)
    assert read_outcome(tmp_path / "out").status == "converged"


def test_a_disk_that_is_full_for_the_outcome_itself_fails_the_job(tmp_path, monkeypatch):
    raised_by_the_engine(monkeypatch, EngineError("no convergence"))
    write_text = Path.write_text

    def full(self, *arguments, **options):
        if self.name == "outcome.json":
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return write_text(self, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", full)
    with refused("outcome.json", code="disk_full", by=Unfinished):
        run(tmp_path)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("structure", "data"),
    [
        # numpy finds a matrix that is not positive definite; GPAW calls that "Too few plane waves or grid points"
        (Structure(Lattice.cubic(4.0), ["Si", "Si"], [[0, 0, 0], [0.14, 0, 0]]), ["smearing_ev"]),
        (Structure(Lattice.orthorhombic(0.8, 12, 12), ["Si"], [[0, 0, 0]]), ["lattice"]),
    ],
)
def test_what_gpaw_cannot_converge_is_an_outcome_that_says_what_to_change(tmp_path, structure, data):
    outcome = run(tmp_path, structure, settings=replace(SETTINGS, ecut_ev=200))
    assert outcome.status == "failed"
    assert not lacking(outcome.reason, *data)


def test_eigenvalues_that_do_not_converge_are_a_sentence_and_an_atom_tries_its_other_ways(tmp_path, monkeypatch):
    def diverge(*arguments, **options):
        raise np.linalg.LinAlgError("Eigenvalues did not converge")

    monkeypatch.setattr(engine.LegacyGPAW, "calculate", diverge)
    outcome = run(tmp_path)
    assert outcome.status == "failed"
    assert not outcome.reason.startswith(("Eigenvalues", "LinAlgError"))
    assert "Eigenvalues" in outcome.reason  # as GPAW says it
    assert "smearing_ev" in outcome.reason
    atom = run_atom("Al", "gpaw", SETTINGS, tmp_path / "atom")
    assert (atom.status, len(atom.corrections)) == ("failed", 2)
    assert "atom_box_ang" in atom.reason


def test_datasets_that_are_not_installed_are_a_fault_of_the_setup(tmp_path, monkeypatch):
    monkeypatch.setattr(engine.gpaw, "setup_paths", [tmp_path])
    monkeypatch.setattr("rho2prop.dft.gpaw.failures.gpaw.setup_paths", [tmp_path])
    with refused("PBE", "Al", "gpaw-data", by=SetupError):
        run(tmp_path)
    assert not (tmp_path / "out").exists()
    polonium = Structure(Lattice.cubic(3.35), ["Po"], [[0, 0, 0]])  # no set of GPAW's holds it
    assert run(tmp_path, polonium).status == "failed"
    with refused("PBEE", source="dft.gpaw.xc", by=SetupError):
        run(tmp_path, settings=replace(SETTINGS, xc="PBEE"))


def test_without_gpaw_the_engine_that_asks_for_its_atoms_sets_nothing_aside(density, tmp_path, monkeypatch):
    density = replace(density, numbers=np.array([3, 15]), promolecule=None, engine="gpaw 25.7.0")
    write_npz(density, tmp_path / "d.npz")
    structure = Structure(density.lattice, density.numbers, density.frac_coords)
    monkeypatch.setitem(sys.modules, "rho2prop.dft.gpaw.engine", None)
    with refused("gpaw", by=SetupError):
        run(tmp_path, structure, "files", tmp_path / "d.npz", FilesSettings(density.kind, "gpaw", "PBE", 150))
    assert not (tmp_path / "out").exists()
