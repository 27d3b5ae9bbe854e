"""Worker processes: pages stay responsive, a job can be stopped at any time, a crash ends one job only."""

import asyncio
import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from multiprocessing import connection as pipes
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from rho2prop.app.memory import MEMORY_SHARE, limit_memory, memory_bytes
from rho2prop.app.plain_text import for_page, printable_stderr
from rho2prop.core.errors import InputError
from rho2prop.core.processes import available_cores

SPAWN = get_context("spawn")  # a fork would copy the server's threads and sockets


class Worker:
    """A process that runs one job after another; once stopped it is replaced, not restarted.

    Parameters
    ----------
    bundle
        Model bundle that it loads.
    threads
        Cores that it uses.
    most_bytes
        Memory that it may take.
    """

    def __init__(self, bundle: Path, threads: int, most_bytes: int):
        self._connection, other = SPAWN.Pipe()
        self.process = SPAWN.Process(target=_serve, args=(other, bundle, threads, most_bytes), daemon=True)
        self.process.start()
        other.close()
        self._is_stopped, self._stopping = False, threading.Lock()

    @property
    def is_usable(self) -> bool:
        """Whether it can run another job."""
        return not self._is_stopped and self.process.is_alive()

    def work(self, job: str, arguments: dict, progress: Callable[[str], None]) -> Any:
        """Run one job of ``rho2prop.app.jobs`` and return its result.

        Raises
        ------
        InputError
            With the job's own message, or if the process ended before it was done; code ``gone`` if it had not begun.
        """
        code = "gone"
        try:
            self._connection.send((job, arguments))
            while True:
                kind, content = self._connection.recv()
                if kind == "begun":
                    code = "died"
                elif kind == "progress":
                    progress(content)
                elif kind == "error":
                    raise InputError(*content)
                else:
                    return content
        except (EOFError, OSError) as error:
            self.stop()
            problem = "the worker process died, probably for lack of memory"
            raise InputError(
                "app", problem, "Try a smaller file, or try again when the machine is less busy", code=code
            ) from error

    def stop(self) -> None:
        """Kill the process at once."""
        self._is_stopped = True
        with self._stopping:  # the page and the thread in work() may both notice
            self.process.kill()
            self.process.join()  # a thread that waits in work() meets the end of the connection


class WorkerPool:
    """A fixed number of workers and a queue of bounded length before them.

    Parameters
    ----------
    bundle
        Model bundle that the workers load.
    n_workers
        Jobs done at the same time.
    queue_length
        Jobs that may wait; one more is refused.
    time_limit_s
        After which a job is stopped.
    """

    def __init__(self, bundle: Path, n_workers: int, queue_length: int, time_limit_s: float):
        threads = max(1, available_cores() // n_workers)
        most_bytes = int(MEMORY_SHARE * memory_bytes() / n_workers)  # all together keep to the share
        self._new_worker = lambda: Worker(bundle, threads, most_bytes)
        self.workers: list[Worker | None] = [None] * n_workers  # None: started when a job comes
        self._idle: asyncio.LifoQueue[int] = asyncio.LifoQueue()  # the one used last has its models loaded
        for place in reversed(range(n_workers)):
            self._idle.put_nowait(place)
        self._queue_length, self._time_limit_s = queue_length, time_limit_s
        self._n_waiting = 0

    def start(self) -> None:
        """Start one worker now, so that models are loaded before the first job."""
        self._worker(0)

    def stop(self) -> None:
        """End all workers."""
        for worker in self.workers:
            if worker is not None:
                worker.stop()

    async def run(self, job: str, arguments: dict, progress: Callable[[str], None]) -> Any:
        """Run one job of ``rho2prop.app.jobs``; if the caller is cancelled, the job is stopped.

        Parameters
        ----------
        job
            Name of the function.
        arguments
            Its keyword arguments beside ``bundle`` and ``progress``.
        progress
            Called in the event loop with a line on what is going on, never after the job is over.

        Raises
        ------
        InputError
            With a message for the user.
        """
        place = await self._take(progress)
        loop, is_over = asyncio.get_running_loop(), False

        def show(text: str) -> None:
            if not is_over:  # the thread of a stopped job may still report
                progress(text)

        def report(text: str) -> None:
            loop.call_soon_threadsafe(show, text)

        try:
            for is_last in (False, True):  # an idle worker may have been killed: that says nothing about this job
                worker = self._worker(place)
                work = asyncio.to_thread(worker.work, job, arguments, report)
                try:
                    return await asyncio.wait_for(work, self._time_limit_s)
                except InputError as error:
                    if is_last or error.code != "gone":
                        raise
        except TimeoutError as error:
            await _stopped(worker)
            problem = f"the job took longer than {self._time_limit_s:.0f} s and was stopped"
            raise InputError("app", problem, "Use `rho2prop predict` on the command line") from error
        except asyncio.CancelledError:
            await _stopped(worker)
            raise
        finally:
            is_over = True
            self._idle.put_nowait(place)

    def _worker(self, place: int) -> Worker:
        worker = self.workers[place]
        if worker is None or not worker.is_usable:
            worker = self.workers[place] = self._new_worker()
        return worker

    async def _take(self, progress: Callable[[str], None]) -> int:
        if self._idle.empty():
            if self._n_waiting >= self._queue_length:
                problem = f"{self._n_waiting} jobs are already waiting"
                raise InputError("app", problem, "Try again in a minute", code="busy")
            progress("Waiting for other jobs to finish")
        self._n_waiting += 1
        try:
            return await self._idle.get()
        finally:
            self._n_waiting -= 1


async def _stopped(worker: Worker) -> None:
    """Stop a worker and wait for its end, even if the waiting is cancelled: only then is its slot free."""
    stopping = asyncio.ensure_future(asyncio.to_thread(worker.stop))
    while not stopping.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(stopping)


def _serve(connection: Connection, bundle_folder: Path, threads: int, most_bytes: int) -> None:
    """Main loop of a worker process, until its server ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the server, which ends the workers
    threading.Thread(target=_end_with_server, daemon=True).start()
    limit_memory(most_bytes)
    with printable_stderr():
        _do_jobs(connection, bundle_folder, threads)


def _end_with_server() -> None:
    """End this process when its server ends or is killed, even in the middle of a job."""
    server = parent_process()
    assert server is not None  # a worker is a child process
    pipes.wait([server.sentinel])
    os._exit(1)


def _do_jobs(connection: Connection, bundle_folder: Path, threads: int) -> None:
    import torch

    from rho2prop.app.jobs import JOBS
    from rho2prop.prediction.bundle.reader import load_bundle

    torch.set_num_threads(threads)
    bundle = None
    with contextlib.suppress(Exception):  # said again, to the user, when a job needs what cannot be loaded
        bundle = load_bundle(bundle_folder)
        bundle.load()
    while True:
        try:
            job, arguments = connection.recv()
        except EOFError:
            return
        try:
            connection.send(("begun", None))
            bundle = bundle or load_bundle(bundle_folder)
            result = JOBS[job](bundle, lambda text: connection.send(("progress", text)), **arguments)
            connection.send(("result", result))
        except Exception as error:
            connection.send(("error", _message(error)))


def _message(error: Exception) -> tuple[str, str, str]:
    """Source, problem and fix of an error, with paths of this machine reduced to file names."""
    if isinstance(error, InputError):
        name = Path(error.source).name.removeprefix("unpacked-") if "/" in error.source else error.source
        folders = [Path(error.source).parent] if "/" in error.source else []
        problem, fix = (for_page(text.replace(error.source, name), *folders) for text in (error.problem, error.fix))
        return for_page(name, *folders), problem, fix
    if isinstance(error, MemoryError):
        return "app", "there is not enough memory for this file", "Use a coarser grid or a larger machine"
    traceback.print_exception(error, file=sys.stderr)
    return (
        "file",
        for_page(f"cannot be used ({type(error).__name__}: {error})"),
        "Check that it is a complete density file",
    )
