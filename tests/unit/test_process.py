"""The program as a process: signals, closed pipes, cores and threads."""

import os
import signal
import subprocess
import sys
from importlib import import_module

import pytest
from pymatgen.core import Lattice, Structure
from standins.bundle_run import finished_run, made_density
from threadpoolctl import threadpool_info, threadpool_limits

from rho2prop.__main__ import main
from rho2prop.core import processes
from rho2prop.core.errors import InputError
from rho2prop.core.processes import available_cores
from rho2prop.densities.density import write_npz
from rho2prop.dft.base import EngineError
from rho2prop.prediction.bundle.reader import load_bundle
from rho2prop.prediction.inputs import read_input

pytest.importorskip("gpaw")
engine = import_module("rho2prop.dft.gpaw.engine")
pytestmark = pytest.mark.slow

PROGRAM = "import sys; from rho2prop.__main__ import main; sys.exit(main())"

# A signal in the middle of an import, where an exception would be lost or end in a traceback.
DURING_IMPORT = """
import os, sys
module, number = sys.argv[1], int(sys.argv[2])
class Sender:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            os.kill(os.getpid(), number)
sys.meta_path.insert(0, Sender())
sys.argv[1:3] = []
from rho2prop.__main__ import main
sys.exit(main())
"""

# A signal in the middle of GPAW's cycle, whose work is in the main thread.
DURING_GPAW = """
import os, sys
import gpaw.scf
number, steps = int(sys.argv[1]), []
check = gpaw.scf.SCFLoop.check_convergence
def check_and_send(self, *arguments, **options):
    steps.append(self.niter)
    if len(steps) == 3:
        os.kill(os.getpid(), number)
    return check(self, *arguments, **options)
gpaw.scf.SCFLoop.check_convergence = check_and_send
sys.argv[1:2] = []
from rho2prop.__main__ import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return finished_run(tmp_path_factory)[1]


@pytest.fixture
def lithium(tmp_path):
    path = tmp_path / "Li.cif"
    Structure(Lattice.cubic(3.44).get_niggli_reduced_lattice(), ["Li"], [[0, 0, 0]]).to(str(path))
    return path


def run(code, *arguments, temporary=None, **options):
    environment = os.environ | ({"TMPDIR": str(temporary)} if temporary else {})
    environment.pop("PYTHONUNBUFFERED", None)  # argparse hides errors of its own writing
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, text=True, env=environment, stderr=subprocess.PIPE, **options)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("pandas", ("predict", "x.npz")),
        ("numpy", ("encode", "x.npz", "-o", "latent.npz")),
        ("rho2prop.densities.chgcar_writer", ("decode", "x.npz", "-o", "CHGCAR")),
        ("rho2prop.app.server", ("app", "--port", "0")),
    ],
)
def test_a_signal_during_an_import_ends_every_command_at_once(bundle, tmp_path, module, arguments, number):
    result = run(
        DURING_IMPORT, module, number, *arguments, "--bundle", bundle, temporary=tmp_path, stdout=subprocess.DEVNULL
    )
    assert (result.returncode, result.stderr) == (128 + number, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "command"), [(signal.SIGINT, "predict"), (signal.SIGTERM, "encode")], ids=["SIGINT", "SIGTERM"]
)
def test_a_signal_during_a_calculation_leaves_nothing(bundle, lithium, tmp_path, number, command):
    arguments = [command, lithium, "--bundle", bundle, "-o", tmp_path / "out.npz", "--work", tmp_path / "work"]
    (tmp_path / "temporary").mkdir()
    result = run(DURING_GPAW, number, *arguments, temporary=tmp_path / "temporary", stdout=subprocess.DEVNULL)
    assert (result.returncode, result.stderr) == (128 + number, "")
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")} == {"Li.cif", "temporary", "work"}


def test_a_signal_that_the_caller_ignores_stays_ignored(bundle, tmp_path):
    """As under nohup and in the background of a script."""
    code = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n{DURING_IMPORT}"
    result = run(code, "rho2prop.prediction.bundle.reader", signal.SIGINT, "predict", "x.npz", "--bundle", tmp_path)
    assert result.returncode == 1
    assert str(tmp_path) in result.stderr


def test_a_reader_that_went_away_is_no_error(bundle, tmp_path):
    write_npz(made_density(), tmp_path / "MgO.npz")
    for arguments in (("--help",), ("predict", tmp_path / "MgO.npz", "--bundle", bundle)):
        reading, writing = os.pipe()
        os.close(reading)
        result = run(PROGRAM, *arguments, stdout=writing)
        os.close(writing)
        assert (result.returncode, result.stderr) == (141, "")


def test_a_full_disk_behind_the_output_is_one_line():
    with open("/dev/full", "w") as full:
        result = run(PROGRAM, "--help", stdout=full)
    assert result.returncode == 1
    assert result.stderr == "rho2prop: standard output: No space left on device\n"


def test_cores_are_counted_on_systems_without_affinity(monkeypatch, capsys):
    monkeypatch.delattr(processes.os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(processes.os, "cpu_count", lambda: 7)
    assert available_cores() == 7
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("rho2prop ")


def test_a_calculation_takes_one_thread_of_each_library(bundle, lithium, monkeypatch):
    """Two threads of OpenBLAS made a two-atom cell 18 times slower, even with both cores to itself."""
    threads = []

    def compute(task, settings, folder):
        threads.extend((library["filepath"], library["num_threads"]) for library in threadpool_info())
        raise EngineError("looked only")

    monkeypatch.setattr(engine, "compute", compute)
    with threadpool_limits(limits=2), pytest.raises(InputError, match="looked only"):
        read_input(lithium, load_bundle(bundle))
    assert threads
    assert {number for _, number in threads} == {1}


def test_a_program_keeps_to_its_threads(bundle):
    """One for matrices; those of --threads for networks, shared by densities that are read beside each other."""
    code = (
        "from rho2prop.__main__ import main; main(); from threadpoolctl import threadpool_info\n"
        "import torch; print('torch', torch.get_num_threads())\n"
        "for one in threadpool_info(): print(one['user_api'], one['num_threads'])"
    )
    for arguments in (("x.npz", "--threads", 1), ("x.npz", "y.npz", "--threads", 2)):
        result = run(code, "predict", *arguments, "--bundle", bundle, stdout=subprocess.PIPE)
        assert set(result.stdout.splitlines()) == {"torch 1", "blas 1", "openmp 1"}
