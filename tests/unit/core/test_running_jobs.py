"""Jobs of a run are known for as long as their process lives, however it ends."""

import errno
import fcntl
import subprocess
import sys
from pathlib import Path

import pytest
from standins.refusals import refused

from rho2prop.core.jobs.running_jobs import JOBS, refuse_while_local_jobs_run, running_job
from rho2prop.core.jobs.table_digest import record_table, require_same_table, table_digest

ROOT = Path(__file__).parents[3]
JOB = """
import sys
from concurrent.futures import ProcessPoolExecutor
from rho2prop.core.jobs.running_jobs import running_job
with running_job("logs/fit/x.log", sys.argv[1]):
    pool = ProcessPoolExecutor(1)
    print(pool.submit(sum, [1]).result(), next(iter(pool._processes)), flush=True)
    sys.stdin.read()
    pool.shutdown()
"""


@pytest.fixture
def job(tmp_path):
    """A process that runs a job in the folder ``run``, with an idle worker; its id."""
    (tmp_path / "run").mkdir()
    command = [sys.executable, "-c", JOB, str(tmp_path / "run")]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.worker = int(process.stdout.readline().split()[1])
    yield process
    process.kill()
    process.communicate()


def test_a_run_is_refused_while_a_job_lives_and_names_it(job, tmp_path):
    with refused("logs/fit/x.log", job.pid, source="run") as refusal:
        refuse_while_local_jobs_run(tmp_path / "run")
    assert f"kill {job.pid}" in refusal.value.fix
    job.communicate("")
    refuse_while_local_jobs_run(tmp_path / "run")
    assert list((tmp_path / "run" / JOBS).iterdir()) == []


def test_a_killed_job_is_forgotten_also_while_its_idle_worker_lives(job, tmp_path):
    job.kill()
    job.wait()
    assert len(list((tmp_path / "run" / JOBS).iterdir())) == 1
    refuse_while_local_jobs_run(tmp_path / "run")
    assert list((tmp_path / "run" / JOBS).iterdir()) == []
    subprocess.run(["kill", str(job.worker)])


def test_where_nothing_ran_nothing_is_refused(tmp_path):
    refuse_while_local_jobs_run(tmp_path)
    with pytest.raises(ZeroDivisionError), running_job("x", tmp_path):
        1 / 0  # noqa: B018
    refuse_while_local_jobs_run(tmp_path)


def test_a_file_system_without_locks_breaks_nothing(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", no_locks)
    with running_job("x", tmp_path):
        refuse_while_local_jobs_run(tmp_path)


def test_a_table_that_changed_since_its_labels_were_read_is_refused(tmp_path):
    table = tmp_path / "materials.csv"
    table.write_text("material_id,bulk_modulus_gpa\na,1\n")
    read = table_digest(table)
    record_table(str(table), read, tmp_path)
    require_same_table(str(table), read, tmp_path)
    table.write_text("material_id,bulk_modulus_gpa\na,2\n")
    with refused(source="materials.csv", code="changed"):
        require_same_table(str(table), read, tmp_path)
    with refused(source="materials.csv", code="changed"):  # a job of a cluster, which reads the new table itself
        require_same_table(str(table), table_digest(table), tmp_path)
    record_table(str(table), table_digest(table), tmp_path)
    require_same_table(str(table), table_digest(table), tmp_path)
    require_same_table(None, "", tmp_path)
