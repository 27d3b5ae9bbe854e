"""Engine "materials_project": stored densities through the real client, from a local REST interface and S3 store."""

import json

import pytest
from standins.mp_materials import CRYSTALS, chgcar, crystal, documents
from standins.mp_server import KEY, Fault, MaterialsProjectServer
from standins.refusals import lacking, refused

from rho2prop.densities.density import read_npz
from rho2prop.dft.base import run_atom, run_material
from rho2prop.dft.failures import EngineError, Unfinished
from rho2prop.dft.materials_project.client import Patience
from rho2prop.dft.materials_project.engine import (
    MaterialsProjectSettings,
    Unreachable,
    checked_density,
    possible_electrons,
)

pytestmark = pytest.mark.slow  # a server answers

SETTINGS = MaterialsProjectSettings(0.1, Patience(timeout_s=20, retries=0, backoff_s=0))


@pytest.fixture
def server(monkeypatch):
    with MaterialsProjectServer(*documents(), densities={"mp-22862": chgcar("mp-22862")}) as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def run(tmp_path):
    def run(name, structure=None):
        path = tmp_path / "structure.json"
        path.write_text((structure or crystal(name)).to_json())
        return run_material(name, path, None, "materials_project", SETTINGS, tmp_path / name)

    return run


def test_a_stored_density_is_kept_with_its_electrons(server, run, tmp_path):
    outcome = run("mp-22862")
    assert outcome.status == "converged", outcome.reason
    assert outcome.n_electrons == 14  # Na_pv 7, Cl 7
    assert outcome.engine_version == "mp-api 0.46.5, database 2026.11.1"
    density = read_npz(tmp_path / "mp-22862" / "density.npz")
    assert density.kind == "valence"
    assert density.integral() == pytest.approx(14, abs=1e-4)
    assert density.lattice == pytest.approx(crystal("mp-22862").lattice.matrix)
    stored = chgcar("mp-22862")
    assert density.values == pytest.approx(stored.data["total"] / stored.structure.volume, rel=1e-6)
    source = json.loads((tmp_path / "mp-22862" / "source.json").read_text())
    assert source["database_version"] == "2026.11.1"


def test_the_density_keeps_its_own_cell(server, run, tmp_path):
    # the task's cell is a doubled and slightly larger one
    larger = crystal("mp-22862") * (2, 1, 1)
    larger.scale_lattice(larger.volume * 1.03)
    server.densities["mp-22862"] = chgcar("mp-22862", structure=larger)
    assert run("mp-22862").n_electrons == 28
    density = read_npz(tmp_path / "mp-22862" / "density.npz")
    assert len(density.numbers) == 4
    assert density.volume_ang3 == pytest.approx(larger.volume)


def test_a_large_density_comes_in_pieces(server, run, tmp_path):
    # more than the 8 MiB that boto3 asks for at a time
    stored = server.densities["mp-22862"] = chgcar("mp-22862", points=80)
    server.compressed = False
    assert run("mp-22862").status == "converged"
    assert len(server.store["mp-22862"]) > 2**23
    assert len([route for route, _ in server.requests if route == "s3"]) > 2
    density = read_npz(tmp_path / "mp-22862" / "density.npz")
    assert density.values * density.volume_ang3 == pytest.approx(stored.data["total"], rel=1e-6)


def test_a_missing_density_is_a_failed_outcome(server, run):
    outcome = run("mp-66")
    assert outcome.status == "failed"
    assert not lacking(outcome.reason, "mp-66", "No object found")  # the latter as the service says it


def test_a_material_without_static_calculation_is_a_failed_outcome(server, run):
    server.without_task.add("mp-22862")
    outcome = run("mp-22862")
    assert outcome.status == "failed"
    assert not lacking(outcome.reason, "mp-22862", "PBE")


@pytest.mark.parametrize("name", ["NaCl", "mp-999999"])
def test_an_unknown_material_is_a_failed_outcome(server, run, name):
    outcome = run(name, crystal("mp-22862"))
    assert outcome.status == "failed"
    assert not lacking(outcome.reason, name)
    assert not any(route == "s3" for route, _ in server.requests)


def test_the_density_of_another_material_is_refused(server, run, tmp_path):
    server.densities["mp-22862"] = chgcar("mp-23193")
    outcome = run("mp-22862")
    assert outcome.status == "failed"
    assert not lacking(outcome.reason, "mp-22862", "K1 Cl1", "Na1 Cl1")
    assert not (tmp_path / "mp-22862" / "density.npz").exists()


def check(stored, name, *data):
    with refused(name, *data, by=EngineError):
        checked_density(stored, crystal(name), name, SETTINGS.max_volume_difference)


def test_a_volume_too_far_off_is_refused():
    compressed = crystal("mp-149")
    compressed.scale_lattice(compressed.volume * 0.85)
    check(chgcar("mp-149", structure=compressed), "mp-149", "17.39", "20.46", "10%")


def test_another_crystal_of_the_same_formula_is_refused():
    caesium_chloride = crystal("mp-22862")
    cubic = type(caesium_chloride.lattice).cubic(caesium_chloride.volume ** (1 / 3))
    other = type(caesium_chloride)(cubic, ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    check(chgcar("mp-22862", structure=other), "mp-22862", "NaCl")


@pytest.mark.parametrize(
    ("electrons", "datum"),
    [
        (8.3, "8.3000"),
        (9.0, "9"),
        (28.0, "28"),  # all electrons
        (float("nan"), "nan"),
    ],
)
def test_a_wrong_number_of_electrons_is_refused(electrons, datum):
    check(chgcar("mp-149", electrons=electrons), "mp-149", datum)


def test_electrons_of_the_materials_projects_potentials_are_possible():
    for name, values in CRYSTALS.items():
        counts = {str(element): int(n) for element, n in crystal(name).composition.items()}
        assert values[-1] in possible_electrons(counts), name
    # one potential per element: Fe 8, 14 or 16 and O 6 or 8, never a mixture of two
    assert possible_electrons({"Fe": 2, "O": 3}) == {2 * fe + 3 * o for fe in (8, 14, 16) for o in (6, 8)}


@pytest.mark.parametrize("route", ["heartbeat", "materials/core", "materials/tasks", "s3"])
@pytest.mark.parametrize("kind", [503, "cut"])
def test_trouble_of_the_service_is_no_fault_of_the_material(server, run, tmp_path, monkeypatch, route, kind):
    if route == "heartbeat" and kind == "cut":
        kind = 504  # a heartbeat is too short to be cut
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    server.faults[route] = Fault(kind, times=None)
    with pytest.raises(Unfinished):
        run("mp-22862")
    assert not (tmp_path / "mp-22862").exists()
    server.faults.clear()
    assert run("mp-22862").status == "converged"


def test_a_wrong_key_is_no_fault_of_the_material(server, run, tmp_path, monkeypatch):
    monkeypatch.setenv("MP_API_KEY", KEY[::-1])
    with refused("MP_API_KEY", code="key", by=Unreachable) as error:
        run("mp-22862")
    assert KEY[::-1] not in str(error.value)
    assert not (tmp_path / "mp-22862").exists()


def test_the_key_is_in_no_file_of_the_results(server, run, tmp_path):
    run("mp-22862")
    run("mp-66")
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {file.name for file in files} == {"outcome.json", "density.npz", "source.json", "structure.json"}
    assert all(KEY.encode() not in file.read_bytes() for file in files)


def test_free_atoms_are_refused_in_one_line(tmp_path):
    with refused("materials_project", source="dft.atomization_energy"):
        run_atom("Si", "materials_project", SETTINGS, tmp_path / "Si")
