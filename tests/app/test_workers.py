"""Jobs in processes: side by side, stopped at any moment, none lost with another's crash."""

import asyncio
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from rho2prop.app.workers import WorkerPool
from rho2prop.errors import InputError


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
    pid = pool._workers[0]._process.pid
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


def test_one_job_too_many_is_refused_and_the_waiting_one_comes_to_its_turn(bundle, place):
    pool = WorkerPool(bundle, n_workers=1, queue_length=1, time_limit_s=600.0)

    async def scenario():
        frozen = freeze_first(pool)
        said = []
        tasks = [asyncio.create_task(pool.run("predict_file", job(place), said.append)) for _ in range(2)]
        while "Waiting for other jobs to finish" not in said:
            await asyncio.sleep(0)
        with pytest.raises(InputError, match="jobs are waiting already"):
            await pool.run("predict_file", job(place), lambda text: None)
        os.kill(frozen, signal.SIGCONT)
        return await asyncio.gather(*tasks)

    try:
        assert [answer.formula for answer in run(scenario())] == ["MgO", "MgO"]
    finally:
        pool.stop()


def test_a_worker_that_dies_gives_a_message_and_is_replaced(pool, place, monkeypatch):
    pid, worker, begun = freeze_first(pool), pool._workers[0], threading.Event()
    start = worker.start

    def start_and_tell():
        start()
        begun.set()

    monkeypatch.setattr(worker, "start", start_and_tell)

    async def scenario():
        doomed = asyncio.create_task(pool.run("predict_file", job(place), lambda text: None))
        await asyncio.to_thread(begun.wait)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(InputError, match="probably for lack of memory"):
            await doomed
        return await pool.run("predict_file", job(place), lambda text: None)

    assert run(scenario()).formula == "MgO"


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
    assert str(caught.value).startswith("cut.npz: is not a whole .npz file")
    assert str(place) not in str(caught.value)
