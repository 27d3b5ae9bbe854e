"""Going on after an interruption: only what is whole is taken over, and what is taken over is kept on record."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp.inputs import Incar, Poscar
from standins.densities import gaussian_density
from standins.potcars import write_potcars
from standins.refusals import refused
from standins.vasp_settings import vasp_settings

from rho2prop.core.errors import InputError
from rho2prop.densities.chgcar_writer import write_chgcar
from rho2prop.dft.failures import Unfinished
from rho2prop.dft.vasp.inputs import load_preset
from rho2prop.dft.vasp.restart import (
    PROCESS,
    archive_record,
    corrected,
    end_orphans,
    is_whole_chgcar,
    is_whole_wavecar,
    load_state,
    prepare_step,
    record_process,
    recorded,
    was_written,
    whole_poscar,
)

PRESET = load_preset("latentmatfusion")
SETTINGS = vasp_settings()
FCC = np.array([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])
MAGNESIA = Structure(Lattice(FCC * 4.2), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
RELAXED = Structure(Lattice(FCC * 4.25), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
ZBRENT = {"errors": ["zbrent"], "actions": [{"dict": "INCAR", "action": {"_set": {"IBRION": 1}}}], "handler": {}}
TET = {
    "errors": ["tet"],
    "actions": [{"dict": "INCAR", "action": {"_set": {"ISMEAR": 0, "SIGMA": 0.05}}}],
    "handler": {},
}


@pytest.fixture(autouse=True)
def _potcars(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("potcars")
    write_potcars(folder, ["Mg", "O"])
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(folder))


def contcar_text(structure: Structure) -> str:
    """As VASP writes it: coordinates, a blank line, velocities."""
    velocities = "\n" + "  0.00000000E+00  0.00000000E+00  0.00000000E+00\n" * len(structure)
    return Poscar(structure).get_str(significant_figures=16) + velocities


def write_wavecar(path, n_records=2 + 2 * 3 * (1 + 4), record_bytes=64):
    """Two spins, three k-points, four bands."""
    values = np.zeros(n_records * record_bytes // 8)
    values[:3] = record_bytes, 2, 45200
    values[record_bytes // 8 : record_bytes // 8 + 2] = 3, 4
    values.tofile(path)


def write_record(path, *corrections):
    path.write_text(json.dumps([{"job": {}, "corrections": list(corrections)}]))


def test_a_contcar_cut_anywhere_gives_its_own_geometry_or_none(tmp_path):
    text = contcar_text(RELAXED)
    complete = text.index("\n\n") + 1
    for length in range(len(text) + 1):
        (tmp_path / "CONTCAR").write_text(text[:length])
        found = whole_poscar(tmp_path / "CONTCAR")
        assert (found is not None) == (length >= complete), length
        if found is not None:
            np.testing.assert_allclose(found.lattice.matrix, RELAXED.lattice.matrix, atol=1e-12)
            np.testing.assert_allclose(found.frac_coords, RELAXED.frac_coords, atol=1e-12)


def test_a_contcar_of_nonsense_is_not_taken(tmp_path):
    (tmp_path / "CONTCAR").write_text(contcar_text(RELAXED).replace("2.125", "  NaN"))
    assert whole_poscar(tmp_path / "CONTCAR") is None


def test_a_wavecar_must_be_as_long_as_its_header_says(tmp_path):
    write_wavecar(tmp_path / "WAVECAR")
    assert is_whole_wavecar(tmp_path / "WAVECAR")
    size = (tmp_path / "WAVECAR").stat().st_size
    for length in (size - 1, size // 2, 70, 10, 0):
        os.truncate(tmp_path / "WAVECAR", length)
        assert not is_whole_wavecar(tmp_path / "WAVECAR"), length
    (tmp_path / "WAVECAR").write_bytes(os.urandom(5000))
    assert not is_whole_wavecar(tmp_path / "WAVECAR")


def test_a_relaxation_goes_on_from_contcar_and_wavecar_with_its_corrections(tmp_path):
    fresh = prepare_step(tmp_path, MAGNESIA, PRESET, "relax", SETTINGS)
    assert Incar.from_file(tmp_path / "INCAR") == fresh
    (tmp_path / "CONTCAR").write_text(contcar_text(RELAXED))
    write_wavecar(tmp_path / "WAVECAR")
    write_record(tmp_path / "custodian.json", ZBRENT)
    for stale in ("STOPCAR", "vasprun.xml", "OUTCAR", "OSZICAR", "stopped-before-deadline"):
        (tmp_path / stale).write_text("old")

    assert prepare_step(tmp_path, MAGNESIA, PRESET, "relax", SETTINGS) == fresh

    np.testing.assert_allclose(whole_poscar(tmp_path / "POSCAR").lattice.matrix, RELAXED.lattice.matrix, atol=1e-12)
    assert dict(Incar.from_file(tmp_path / "INCAR")) == {**fresh, "IBRION": 1}
    assert recorded(tmp_path) == [ZBRENT]
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"INCAR", "POSCAR", "POTCAR", "POTCAR.spec", "WAVECAR", "custodian-001.json"}


def test_cut_files_of_a_killed_relaxation_are_not_taken(tmp_path):
    prepare_step(tmp_path, MAGNESIA, PRESET, "relax", SETTINGS)
    Poscar(RELAXED).write_file(tmp_path / "POSCAR", significant_figures=16)  # an earlier attempt went on from there
    (tmp_path / "CONTCAR").write_text(contcar_text(MAGNESIA)[:200])
    write_wavecar(tmp_path / "WAVECAR", n_records=5)
    (tmp_path / "CHGCAR").write_text("cut")
    (tmp_path / "INCAR").write_text("ENCUT = 5")
    write_record(tmp_path / "custodian.json", ZBRENT)
    os.truncate(tmp_path / "custodian.json", 40)

    fresh = prepare_step(tmp_path, MAGNESIA, PRESET, "relax", SETTINGS)

    np.testing.assert_allclose(whole_poscar(tmp_path / "POSCAR").lattice.matrix, RELAXED.lattice.matrix, atol=1e-12)
    assert Incar.from_file(tmp_path / "INCAR") == fresh
    assert not (tmp_path / "WAVECAR").exists()
    assert not (tmp_path / "CHGCAR").exists()
    assert recorded(tmp_path) == []


def test_the_density_run_starts_from_the_charge_of_the_relaxation(tmp_path):
    write_chgcar(gaussian_density(), tmp_path / "CHGCAR")
    prepare_step(tmp_path / "static", MAGNESIA, PRESET, "static", SETTINGS, tmp_path / "CHGCAR")
    assert Incar.from_file(tmp_path / "static" / "INCAR")["ICHARG"] == 1
    assert (tmp_path / "static" / "CHGCAR").read_bytes() == (tmp_path / "CHGCAR").read_bytes()
    assert is_whole_chgcar(tmp_path / "CHGCAR")
    assert not was_written(tmp_path / "static" / "CHGCAR")  # so it cannot pass for the result
    write_chgcar(gaussian_density(), tmp_path / "static" / "CHGCAR")
    assert was_written(tmp_path / "static" / "CHGCAR")

    os.truncate(tmp_path / "CHGCAR", 2000)
    (tmp_path / "static" / "CHGCAR").unlink()
    prepare_step(tmp_path / "static", MAGNESIA, PRESET, "static", SETTINGS, tmp_path / "CHGCAR")
    assert "ICHARG" not in Incar.from_file(tmp_path / "static" / "INCAR")
    assert not (tmp_path / "static" / "CHGCAR").exists()


def test_a_density_run_never_moves_from_its_geometry(tmp_path):
    prepare_step(tmp_path, MAGNESIA, PRESET, "static", SETTINGS)
    (tmp_path / "CONTCAR").write_text(contcar_text(RELAXED))
    prepare_step(tmp_path, MAGNESIA, PRESET, "static", SETTINGS)
    np.testing.assert_allclose(whole_poscar(tmp_path / "POSCAR").lattice.matrix, MAGNESIA.lattice.matrix, atol=1e-12)


def test_corrections_of_all_attempts_add_up_in_order(tmp_path):
    for tags in ({"ALGO": "All"}, {"ALGO": "Normal", "NELMDL": -6}):
        write_record(
            tmp_path / "custodian.json",
            {"errors": ["Unconverged"], "actions": [{"dict": "INCAR", "action": {"_set": tags}}], "handler": {}},
        )
        archive_record(tmp_path)
    stop = {"errors": ["Walltime reached"], "actions": None, "handler": {}}
    write_record(tmp_path / "custodian.json", TET, stop)
    incar = corrected(Incar({"ALGO": "Fast", "ISMEAR": -5, "ENCUT": 500}), recorded(tmp_path))
    assert dict(incar) == {"ALGO": "Normal", "ISMEAR": 0, "SIGMA": 0.05, "NELMDL": -6, "ENCUT": 500}


def test_state_is_that_of_this_structure_and_protocol_alone(tmp_path):
    scratch = tmp_path / "scratch"
    state = load_state(scratch, MAGNESIA, PRESET, SETTINGS)
    state.finished.append("relax")
    state.walltime_stops = 2
    state.save()
    (scratch / "relax").mkdir()
    again = load_state(scratch, MAGNESIA, PRESET, vasp_settings(parallel={"KPAR": 2}, polling_s=5))
    assert (again.finished, again.walltime_stops) == (["relax"], 2)
    for structure, settings in ((RELAXED, SETTINGS), (MAGNESIA, vasp_settings(spin="none"))):
        other = load_state(scratch, structure, PRESET, settings)
        assert (other.finished, other.walltime_stops) == ([], 0)
        assert [path.name for path in scratch.iterdir()] == ["state.json"]


def test_a_cut_state_begins_anew(tmp_path):
    load_state(tmp_path / "scratch", MAGNESIA, PRESET, SETTINGS)
    os.truncate(tmp_path / "scratch" / "state.json", 30)
    assert load_state(tmp_path / "scratch", MAGNESIA, PRESET, SETTINGS).finished == []


def test_what_a_killed_attempt_left_running_is_ended_and_nothing_else(tmp_path):
    sleep = [sys.executable, "-c", "import time; print('ready', flush=True); time.sleep(60)"]
    (tmp_path / "step").mkdir()
    options = {"stdout": subprocess.PIPE, "start_new_session": True}
    orphan = subprocess.Popen(sleep, cwd=tmp_path / "step", **options)
    elsewhere = subprocess.Popen(sleep, cwd=tmp_path, **options)
    try:
        for process in (orphan, elsewhere):
            assert process.stdout.readline() == b"ready\n"
        record_process(tmp_path / "step", elsewhere.pid)  # its number was given to another process meanwhile
        end_orphans(tmp_path / "step")
        assert (orphan.poll(), elsewhere.poll()) == (None, None)
        record_process(tmp_path / "step", orphan.pid)
        end_orphans(tmp_path / "step")
        assert orphan.wait(timeout=20) == -9
        assert elsewhere.poll() is None
        assert not (tmp_path / "step" / PROCESS).exists()
    finally:
        for process in (orphan, elsewhere):
            process.kill()
            process.wait()


@pytest.mark.parametrize("name", ["state.json", "relax/custodian.json"])
def test_a_disk_that_cannot_be_read_for_a_moment_loses_nothing(tmp_path, monkeypatch, name):
    load_state(tmp_path / "scratch", MAGNESIA, PRESET, SETTINGS)
    (tmp_path / "scratch/relax").mkdir()
    (tmp_path / "scratch/relax/custodian.json").write_text('[{"corrections": []}]')
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    read_text = Path.read_text

    def broken(self, *arguments, **options):
        if str(self).endswith(name):
            raise OSError(errno.EIO, "Input/output error", str(self))
        return read_text(self, *arguments, **options)

    def resume():
        load_state(tmp_path / "scratch", MAGNESIA, PRESET, SETTINGS)
        archive_record(tmp_path / "scratch/relax")

    monkeypatch.setattr(Path, "read_text", broken)
    with pytest.raises(OSError, check=lambda error: error.errno == errno.EIO):
        resume()
    monkeypatch.undo()
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_memory_that_lacks_while_a_charge_is_read_does_not_delete_it(tmp_path, monkeypatch):
    (tmp_path / "CHGCAR").write_text("whole")

    def hungry(path):
        raise InputError(path, "cannot be read", "Check it") from MemoryError()

    monkeypatch.setattr("rho2prop.dft.vasp.restart.parse_density", hungry)
    with refused(code="memory", by=Unfinished):
        is_whole_chgcar(tmp_path / "CHGCAR")
