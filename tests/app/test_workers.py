"""Jobs in processes: side by side, stopped at any moment, none lost with another's crash."""

import asyncio
import os
import resource
import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from standins.refusals import refused

from rho2prop.app.memory import MEMORY_SHARE, memory_bytes
from rho2prop.app.workers import Worker, WorkerPool
from rho2prop.core.errors import InputError


def job(place, name="MgO.npz") -> dict:
    folder = place / "unpacked"
    folder.mkdir(exist_ok=True)
    return {"path": place / "root" / name, "folder": folder, "max_bytes": 10**7, "allow_other_engine": False}


def run(coroutine):
    """In a thread of its own: the browser's driver keeps an event loop in this one."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(asyncio.run, coroutine).result()


@pytest.fixture
def pool(bundle):
    made = WorkerPool(bundle, n_workers=2, queue_length=1, time_limit_s=600.0)
    yield made
    made.stop()


def freeze_first(pool) -> int:
    """Stop the process of the first worker in the middle of whatever it does: a job that never ends."""
    pool.start()
    pid = pool.workers[0].process.pid
    os.kill(pid, signal.SIGSTOP)
    return pid


def test_a_stuck_job_blocks_nobody_and_is_gone_when_it_is_cancelled(pool, place):
    async def scenario():
        frozen = freeze_first(pool)
        stuck = asyncio.create_task(pool.run("predict_file", job(place), lambda text: None))
        await asyncio.sleep(0)  # it takes the first worker
        said = []
        answer = await pool.run("predict_file", job(place), said.append)
        assert answer.formula == "MgO"
        assert len(answer.rows) >= 10
        assert "Reading the density" in said
        assert not stuck.done()
        stuck.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stuck
        with pytest.raises(ProcessLookupError):
            os.kill(frozen, 0)
        return await asyncio.gather(*(pool.run("predict_file", job(place), lambda text: None) for _ in range(2)))

    assert [answer.formula for answer in run(scenario())] == ["MgO", "MgO"]
    # and both workers together keep to the app's share of the memory
    limits = [resource.prlimit(worker.process.pid, resource.RLIMIT_DATA)[0] for worker in pool.workers]
    assert 0.99 * MEMORY_SHARE * memory_bytes() < sum(limits) <= MEMORY_SHARE * memory_bytes()


def test_one_job_too_many_is_refused_and_the_waiting_one_comes_to_its_turn(bundle, place):
    pool = WorkerPool(bundle, n_workers=1, queue_length=1, time_limit_s=600.0)

    async def scenario():
        frozen = freeze_first(pool)
        said = []
        tasks = [asyncio.create_task(pool.run("predict_file", job(place), said.append)) for _ in range(2)]
        while "Waiting for other jobs to finish" not in said:
            await asyncio.sleep(0)
        with refused(code="busy"):
            await pool.run("predict_file", job(place), lambda text: None)
        os.kill(frozen, signal.SIGCONT)
        return await asyncio.gather(*tasks)

    try:
        assert [answer.formula for answer in run(scenario())] == ["MgO", "MgO"]
    finally:
        pool.stop()


def test_a_worker_that_dies_gives_a_message_and_is_replaced(pool, place):
    async def scenario():
        with refused(code="died"):
            await pool.run("predict_file", job(place), lambda text: pool.workers[0].process.kill())
        return await pool.run("predict_file", job(place), lambda text: None)

    assert run(scenario()).formula == "MgO"


def test_a_job_whose_worker_was_killed_before_it_began_goes_to_another(pool, place, monkeypatch):
    pid, begun = freeze_first(pool), threading.Event()
    work = Worker.work

    def tell_and_work(worker, *arguments):
        begun.set()
        return work(worker, *arguments)

    monkeypatch.setattr(Worker, "work", tell_and_work)

    async def scenario():
        moved = asyncio.create_task(pool.run("predict_file", job(place), lambda text: None))
        await asyncio.to_thread(begun.wait)
        os.kill(pid, signal.SIGKILL)
        return await moved

    assert run(scenario()).formula == "MgO"


class LateConnection:
    """A connection whose end is noticed only when the gate opens, as in a thread that gets no time."""

    def __init__(self, connection):
        self._connection, self.waiting, self.gate = connection, threading.Event(), threading.Event()

    def send(self, content):
        self._connection.send(content)

    def recv(self):
        self.waiting.set()
        try:
            return self._connection.recv()
        except (EOFError, OSError):
            self.gate.wait()
            raise


def test_the_thread_of_a_stopped_job_leaves_the_next_visitor_alone(bundle, place):
    pool = WorkerPool(bundle, n_workers=1, queue_length=1, time_limit_s=600.0)

    async def scenario():
        freeze_first(pool)
        late = pool.workers[0]._connection = LateConnection(pool.workers[0]._connection)
        stopped = asyncio.create_task(pool.run("predict_file", job(place), lambda text: None))
        await asyncio.to_thread(late.waiting.wait)
        stopped.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopped
        # in the middle of the next visitor's job the old thread notices that its job is gone
        return await pool.run("predict_file", job(place), lambda text: late.gate.set())

    try:
        assert run(scenario()).formula == "MgO"
    finally:
        pool.stop()


def test_a_job_that_is_over_reports_nothing_more(pool, place, monkeypatch):
    reports = []

    def work(worker, job, arguments, progress):
        reports.append(progress)
        progress("Reading the density")
        return "done"

    monkeypatch.setattr(Worker, "work", work)

    async def scenario():
        said = []
        assert await pool.run("predict_file", job(place), said.append) == "done"
        n_said = len(said)
        reports[0]("Predicting")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert said[n_said:] == []

    run(scenario())


def test_a_bundle_that_is_gone_is_named_and_may_come_back(bundle, place, tmp_path):
    moved = shutil.copytree(bundle, tmp_path / "models")
    pool = WorkerPool(moved, n_workers=1, queue_length=1, time_limit_s=600.0)
    try:
        moved.rename(tmp_path / "elsewhere")
        with pytest.raises(InputError, match=r"^models: ") as caught:
            run(pool.run("predict_file", job(place), lambda text: None))
        assert str(tmp_path) not in str(caught.value)
        (tmp_path / "elsewhere").rename(moved)
        assert run(pool.run("predict_file", job(place), lambda text: None)).formula == "MgO"
    finally:
        pool.stop()


def test_a_job_that_takes_too_long_is_stopped(bundle, place):
    pool = WorkerPool(bundle, n_workers=1, queue_length=1, time_limit_s=0.01)

    async def scenario():
        frozen = freeze_first(pool)
        with pytest.raises(InputError, match="took longer"):
            await pool.run("predict_file", job(place), lambda text: None)
        with pytest.raises(ProcessLookupError):
            os.kill(frozen, 0)

    try:
        run(scenario())
    finally:
        pool.stop()


def test_messages_name_the_file_and_no_folder_of_this_machine(pool, place):
    (place / "root" / "cut.npz").write_bytes((place / "root" / "MgO.npz").read_bytes()[:3000])
    with pytest.raises(InputError) as caught:
        run(pool.run("predict_file", job(place, "cut.npz"), lambda text: None))
    assert str(caught.value).startswith("cut.npz: is not a complete .npz file")
    assert str(place) not in str(caught.value)
