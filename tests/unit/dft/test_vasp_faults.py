"""Faults of VASP through the real engine and the real custodian: corrected and converged, or failed with its reason.

VASP itself is a stand-in (tests/standins): it writes VASP's files and makes VASP's errors, without the physics.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from custodian.vasp import handlers
from pymatgen.core import Structure
from pymatgen.io.vasp.inputs import Poscar
from standins.potcars import MARKER
from standins.refusals import lacking, refused
from standins.vasp_faults import FAULTS
from standins.vasp_machine import Machine, is_running, machine
from standins.vasp_settings import vasp_settings

from rho2prop.densities.density import Density, read_npz
from rho2prop.dft.base import Resources, run_atom, run_material
from rho2prop.dft.failures import Unfinished
from rho2prop.dft.outcome import Outcome, read_outcome
from rho2prop.dft.vasp import run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pymatgen.io.vasp.inputs.UnknownPotcarWarning"),
    pytest.mark.filterwarnings("ignore::pymatgen.io.vasp.outputs.UnconvergedVASPWarning"),
]
FCC = np.array([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])
MAGNESIA = Structure(FCC * 4.178, ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])  # 2.954 Å → 3.0 Å in five steps
N_STEPS = 5


@dataclass
class Campaign:
    """One crystal, MgO, on a machine that makes the faults it is told; its results and its scratch folder."""

    folder: Path
    vasp: Machine
    outcome: Outcome | None = None

    @property
    def results(self) -> Path:
        return self.folder / "results" / "MgO"

    @property
    def scratch(self) -> Path:
        return self.folder / "scratch" / "MgO"

    @property
    def density(self) -> Density:
        return read_npz(self.results / "density.npz")

    def run(self, **changes) -> Outcome:
        """Call the engine as the workflow does, and look for what may never be there."""
        deadline_s = changes.pop("deadline_s", None)
        settings = vasp_settings(**{"binary": self.vasp.command} | changes)
        Poscar(MAGNESIA).write_file(self.folder / "MgO.vasp")
        arguments = "MgO", self.folder / "MgO.vasp", None, "vasp", settings, self.results
        self.outcome = run_material(*arguments, Resources(scratch=self.scratch, deadline_s=deadline_s))
        assert read_outcome(self.results) == self.outcome
        assert (self.results / "density.npz").exists() == (self.outcome.status == "converged")
        assert self.outcome.status == "failed" or not self.scratch.exists()
        self.assert_whole_and_free()
        return self.outcome

    def assert_whole_and_free(self) -> None:
        """Nothing half-written beside the results, nothing of a POTCAR in them, no VASP left running."""
        assert [path.name for path in self.folder.glob("results/*")] in ([], ["MgO"])
        files = [path for path in self.folder.glob("results/**/*") if path.is_file()]
        assert not [path for path in files if MARKER.encode() in path.read_bytes() or path.name == "POTCAR"]
        assert not [line["pid"] for line in self.vasp.events("start") if is_running(line["pid"])]
        assert not self.vasp.events("nobody ended it")


@pytest.fixture
def campaign(tmp_path, monkeypatch) -> Callable[..., Campaign]:
    """Make a campaign with these faults, in the environment of this test."""

    def make(*faults: str) -> Campaign:
        vasp = machine(tmp_path / "machine", ["Mg", "O"], {"MgO": list(faults), "O": list(faults)})
        for name, value in vasp.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(run, "MONITOR_S", 0.3)
        return Campaign(tmp_path, vasp)

    return make


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Campaign:
    """The same crystal without any fault."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        campaign = Campaign(folder, machine(folder / "machine", ["Mg", "O"]))
        for name, value in campaign.vasp.environment.items():
            patch.setenv(name, value)
        campaign.run()
    return campaign


def assert_as_undisturbed(campaign: Campaign, undisturbed: Campaign) -> None:
    assert (campaign.outcome.status, campaign.outcome.reason) == ("converged", "")
    for name in ("values", "promolecule", "lattice", "frac_coords"):
        np.testing.assert_array_equal(getattr(campaign.density, name), getattr(undisturbed.density, name))
    assert campaign.outcome.energy_ev == undisturbed.outcome.energy_ev


def ionic_steps(vasp: Machine) -> list[list[dict]]:
    """Ionic steps of the relaxation, run by run."""
    pids = [line["pid"] for line in vasp.events("start", step="relax")]
    return [[line for line in vasp.events("ionic", step="relax") if line["pid"] == pid] for pid in pids]


def test_without_a_fault_nothing_is_corrected(undisturbed):
    outcome, density = undisturbed.outcome, undisturbed.density
    assert (outcome.status, outcome.reason, outcome.corrections, outcome.protocol_changes) == ("converged", "", [], [])
    assert (outcome.n_electrons, outcome.magnetic_moment_mub) == (14.0, 0.0)
    assert "6.4.2" in outcome.engine_version
    assert density.integral() == pytest.approx(14.0, abs=1e-4)
    np.testing.assert_allclose(np.linalg.norm(density.lattice, axis=1), 3.0, atol=1e-6)  # of the relaxed cell
    assert [(line["step"], line["ismear"]) for line in undisturbed.vasp.events("start")] == [
        ("relax", 0),
        ("static", -5),
    ]
    assert [len(steps) for steps in ionic_steps(undisturbed.vasp)] == [N_STEPS + 1]


def test_superposition_holds_the_same_electrons_and_differs(undisturbed):
    density = undisturbed.density
    volume_ang3 = density.volume_ang3
    assert density.promolecule.mean(dtype=float) * volume_ang3 == pytest.approx(density.n_electrons, abs=1e-4)
    assert np.abs(density.values - density.promolecule).mean() * volume_ang3 > 0.05


@pytest.mark.parametrize(
    ("fault", "correction"),
    [
        ("zbrent-once", r"relax: zbrent: .*NELMIN 4 → 8"),
        ("nelm-once@static", r"static: Unconverged: .*BMIX"),
        ("kill-once@relax", r"relax: .*killed by SIGKILL.*started again"),
        ("kill-writing-once@relax", r"relax: .*killed by SIGKILL.*started again"),
        ("kill-writing-once@static", r"static: .*killed by SIGKILL.*started again"),
        ("kill-once@static", r"static: .*killed by SIGKILL.*started again"),
        ("truncated-chgcar-once", r"static: .*CHGCAR.*started again"),
        ("disk-full-once@static", r"static: disk full .*started again"),
    ],
)
def test_a_fault_that_comes_once_is_mended_and_told(campaign, undisturbed, fault, correction):
    disturbed = campaign(fault)
    disturbed.run()
    assert_as_undisturbed(disturbed, undisturbed)
    assert len(disturbed.vasp.events(f"fault {fault.split('-once')[0]}")) == 1
    assert len(disturbed.outcome.corrections) == 1
    assert re.search(correction, disturbed.outcome.corrections[0])
    if "relax" in correction:  # it went on from its last geometry
        first, second = ionic_steps(disturbed.vasp)
        assert second[0]["lengths"][0] > first[0]["lengths"][0]
        assert len(first) + len(second) <= N_STEPS + 2


def test_a_corrected_smearing_is_flagged_as_a_change_of_the_protocol(campaign, undisturbed):
    disturbed = campaign("tet-forever")
    disturbed.run()
    assert_as_undisturbed(disturbed, undisturbed)
    assert [line["ismear"] for line in disturbed.vasp.events("start", step="static")] == [-5, 0]
    assert "ISMEAR -5 → 0 (static run)" in disturbed.outcome.protocol_changes


def test_a_calculation_that_custodian_cannot_converge_is_a_failed_outcome_with_advice(campaign):
    disturbed = campaign("nelm-forever@static")
    outcome = disturbed.run()
    assert outcome.status == "failed"
    assert re.search(r"static: .*Unconverged.*(AMIX|NELM)", outcome.reason)
    assert (outcome.energy_ev, outcome.n_electrons, outcome.grid) == (None, None, None)
    assert not disturbed.scratch.exists()


@pytest.mark.parametrize(
    ("fault", "code", "data"),
    [
        ("kill-forever@relax", "killed", ["relax", "SIGKILL", 2]),
        ("truncated-chgcar-forever", "crashed", ["static", "CHGCAR", 2]),
        ("disk-full-forever", "disk_full", ["relax"]),
    ],
)
def test_a_fault_of_the_machine_fails_the_job_and_the_next_attempt_resumes(
    campaign, undisturbed, monkeypatch, fault, code, data
):
    disturbed = campaign(fault)
    with refused(*data, source="MgO", code=code, by=Unfinished):
        disturbed.run()
    assert not disturbed.results.exists()
    assert disturbed.scratch.exists()
    disturbed.assert_whole_and_free()
    monkeypatch.setenv(FAULTS, "{}")
    disturbed.run()
    assert_as_undisturbed(disturbed, undisturbed)
    n_starts = [len(disturbed.vasp.events("start", step=step)) for step in ("relax", "static")]
    assert n_starts == ([3, 1] if "relax" in data else [1, 3])  # what was finished is not run again


def clock_during(vasp: Machine, event: str, time_s: float) -> SimpleNamespace:
    """A clock that stands at ``time_s`` while a run hangs in ``event``: what takes hours takes no time."""

    def now_s() -> float:
        last = (vasp.ledger or [{"event": "none", "pid": 0}])[-1]
        return time_s if last["event"] == event and is_running(last["pid"]) else time.time()

    return SimpleNamespace(time=now_s)


@pytest.mark.parametrize(("step", "stop"), [("relax", "LSTOP"), ("static", "LABORT")])
def test_a_run_is_stopped_before_the_end_of_the_job_and_goes_on_in_the_next(
    campaign, undisturbed, monkeypatch, step, stop
):
    disturbed = campaign(f"walltime-once@{step}")
    deadline_s = time.time() + 1000.0
    monkeypatch.setattr(run, "time", clock_during(disturbed.vasp, "fault walltime", deadline_s - 2.0))
    with refused(step, source="MgO", code="walltime", by=Unfinished):
        disturbed.run(deadline_s=deadline_s)
    assert [line["stopped"] for line in disturbed.vasp.events("end", step=step)] == [stop]
    assert not disturbed.results.exists()
    disturbed.assert_whole_and_free()
    disturbed.run()
    assert_as_undisturbed(disturbed, undisturbed)
    assert disturbed.outcome.corrections == []
    runs = ionic_steps(disturbed.vasp)
    assert [len(steps) for steps in runs] == ([2, N_STEPS - 1] if step == "relax" else [N_STEPS + 1])


def test_a_vasp_that_does_not_listen_is_ended_before_the_end_of_the_job(campaign, monkeypatch):
    disturbed = campaign("frozen-once@relax")
    deadline_s = time.time() + 1000.0
    monkeypatch.setattr(run, "time", clock_during(disturbed.vasp, "fault frozen", deadline_s - 0.5))
    with pytest.raises(Unfinished):
        disturbed.run(deadline_s=deadline_s)
    assert disturbed.vasp.events("end") == []
    disturbed.assert_whole_and_free()


def test_a_run_that_no_job_is_long_enough_for_fails(campaign, monkeypatch):
    disturbed = campaign("walltime-forever@relax")
    deadline_s = time.time() + 1000.0
    monkeypatch.setattr(run, "time", clock_during(disturbed.vasp, "fault walltime", deadline_s - 2.0))
    with pytest.raises(Unfinished):
        disturbed.run(deadline_s=deadline_s, max_walltime_stops=1)
    outcome = disturbed.run(deadline_s=deadline_s, max_walltime_stops=1)
    assert outcome.status == "failed"
    assert not lacking(outcome.reason, "relax", 2, "dft.vasp.max_walltime_stops")


def test_a_frozen_relaxation_is_started_again_from_its_last_geometry(campaign, undisturbed, monkeypatch):
    disturbed = campaign("frozen-once@relax")
    monkeypatch.setattr(handlers, "time", clock_during(disturbed.vasp, "fault frozen", time.time() + 1e5))
    disturbed.run()
    assert_as_undisturbed(disturbed, undisturbed)
    assert disturbed.outcome.corrections == ["relax: Frozen job: CONTCAR → POSCAR"]


def test_a_frozen_density_run_fails_the_job(campaign, monkeypatch):
    disturbed = campaign("frozen-forever@static")
    monkeypatch.setattr(handlers, "time", clock_during(disturbed.vasp, "fault frozen", time.time() + 1e5))
    with refused("Frozen job", code="frozen", by=Unfinished):
        disturbed.run()
    assert not disturbed.results.exists()


def test_a_free_atom_keeps_hunds_moment_through_a_crash(campaign):
    disturbed = campaign("kill-once@atom")
    settings = vasp_settings(binary=disturbed.vasp.command)
    outcome = run_atom("O", "vasp", settings, disturbed.folder / "results/MgO", Resources(scratch=disturbed.scratch))
    assert (outcome.status, outcome.magnetic_moment_mub) == ("converged", 2.0)
    assert outcome.energy_ev == pytest.approx(-0.28)
    assert len(disturbed.vasp.events("start", formula="O", step="atom")) == 2
    disturbed.assert_whole_and_free()
