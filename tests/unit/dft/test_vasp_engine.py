"""The engine without VASP: what it needs of a machine, and how errors of the machine end."""

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure
from standins.potcars import write_potcars
from standins.refusals import lacking, refused
from standins.vasp_settings import vasp_settings

from rho2prop.dft.base import Resources, Task, atom_in_box, run_material
from rho2prop.dft.failures import EngineError, SetupError, Unfinished
from rho2prop.dft.vasp import engine
from rho2prop.dft.vasp.restart import State

MAGNESIA = Structure(Lattice.cubic(4.2), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
SETTINGS = vasp_settings(
    max_walltime_stops=2, atom_box_ang=12.0, binary=sys.executable, polling_s=0.05, walltime_margin_s=60.0
)


@pytest.fixture
def task(tmp_path, monkeypatch) -> Task:
    write_potcars(tmp_path / "potcars", ["Mg", "O"])
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(tmp_path / "potcars"))
    return Task("MgO", MAGNESIA, resources=Resources(scratch=tmp_path / "scratch"))


def test_a_machine_without_vasp_fails_the_job_and_not_the_material(task, tmp_path):
    MAGNESIA.to(str(tmp_path / "MgO.cif"))
    arguments = "MgO", tmp_path / "MgO.cif", None, "vasp", vasp_settings(binary="no_such_vasp"), tmp_path / "out"
    with refused(source="no_such_vasp", code="missing", by=SetupError):
        run_material(*arguments, task.resources)
    assert not (tmp_path / "out").exists()


def test_a_machine_without_potcars_says_so(task, tmp_path, monkeypatch):
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(tmp_path / "nowhere"))
    with refused(str(tmp_path / "nowhere"), source="PMG_VASP_PSP_DIR", by=SetupError):
        engine.compute(task, SETTINGS, tmp_path)


def test_a_potcar_that_is_missing_fails_the_job(task, tmp_path):
    with refused("Si", source="potcars", code="potcar", by=SetupError):
        engine.compute(Task("Si", atom_in_box("Si", 5.0)), SETTINGS, tmp_path)


def test_a_full_disk_of_our_own_files_fails_the_job_and_keeps_the_scratch_folder(task, tmp_path, monkeypatch):
    def full(self):
        raise OSError(errno.ENOSPC, "No space left on device", str(self.path))

    monkeypatch.setattr(State, "save", full)
    MAGNESIA.to(str(tmp_path / "MgO.cif"))
    arguments = "MgO", tmp_path / "MgO.cif", None, "vasp", SETTINGS, tmp_path / "out"
    with refused(source="MgO", code="disk_full", by=Unfinished) as caught:
        run_material(*arguments, task.resources)
    assert str(task.resources.scratch) in str(caught.value)
    assert (task.resources.scratch.exists(), (tmp_path / "out").exists()) == (True, False)


def test_time_that_runs_out_again_and_again_ends_with_a_reason(task, tmp_path):
    late = replace(task, resources=replace(task.resources, deadline_s=1.0))
    for stop in (1, 2):
        with refused("relax", stop, 2, source="MgO", code="walltime", by=Unfinished):
            engine.compute(late, SETTINGS, tmp_path)
    with refused(3, "dft.vasp.max_walltime_stops", 2, by=EngineError) as caught:
        engine.compute(late, SETTINGS, tmp_path)
    assert caught.value.resumable
    with refused(1, 2, code="walltime", by=Unfinished):
        engine.compute(late, SETTINGS, tmp_path)


def test_without_a_scratch_folder_the_next_attempt_begins_anew(task, tmp_path):
    with refused(source="MgO", code="walltime", by=Unfinished):
        engine.compute(Task("MgO", MAGNESIA, resources=Resources(deadline_s=1.0)), SETTINGS, tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("vasp-")] == []


@pytest.mark.slow
def test_launcher_and_ranks_make_the_command(task, tmp_path):
    program = tmp_path / "show"
    program.write_text('#!/bin/sh\necho "$0 $@" > command\nexit 3\n')
    program.chmod(0o755)
    settings = vasp_settings(launch=f"{program} -n {{threads}}", atom_binary="vasp_gam")
    atom = Task("O", atom_in_box("O", 8.0), resources=replace(task.resources, threads=4))
    with refused(3, 2, source="O", code="crashed", by=Unfinished):
        engine.compute_atom(atom, settings, tmp_path)
    assert (task.resources.scratch / "atom" / "command").read_text().split() == [str(program), "-n", "4", "vasp_gam"]
    notes = json.loads((task.resources.scratch / "state.json").read_text())["notes"]
    assert list(notes) == ["atom"]
    assert not lacking(notes["atom"], "VASP", 3)


@pytest.mark.slow
def test_vasp_does_not_outlive_the_process_that_runs_it(tmp_path):
    code = """
import os, signal, sys
from pathlib import Path
from rho2prop.dft.vasp.run import VaspProcess
job = VaspProcess([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60); print('outlived')"])
process = job.run(sys.argv[1])
while "up" not in Path(sys.argv[1], "vasp.out").read_text():
    assert process.poll() is None
print(process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    root = Path(engine.__file__).parents[3]
    command = [sys.executable, "-c", code, str(tmp_path)]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=120)
    assert finished.returncode == -9, finished.stderr
    process = Path("/proc", finished.stdout.strip(), "stat")
    while process.exists() and process.read_text().rpartition(")")[2].split()[0] != "Z":
        os.sched_yield()  # the kernel's signal is on its way; without it this waits until VASP has ended by itself
    assert (tmp_path / "vasp.out").read_text() == "up\n"
