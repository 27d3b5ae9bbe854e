"""Worker processes: pages stay responsive, a job can be stopped at any moment, a crash takes one job with it."""

import asyncio
import contextlib
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from rho2prop.errors import InputError
from rho2prop.processes import available_cores

SPAWN = get_context("spawn")  # a fork would copy the server's threads and sockets
MEMORY_SHARE = 0.6  # of the machine's memory that one worker may take


class Worker:
    """One process, started when it is first needed and again after it was stopped."""

    def __init__(self, bundle: Path, threads: int):
        self._bundle, self._threads = bundle, threads
        self._process = None
        self._connection: Connection | None = None

    def start(self) -> None:
        """Start the process unless it runs."""
        if self._process is not None and self._process.is_alive():
            return
        self._connection, other = SPAWN.Pipe()
        self._process = SPAWN.Process(target=_serve, args=(other, self._bundle, self._threads), daemon=True)
        self._process.start()
        other.close()

    def work(self, job: str, arguments: dict, progress: Callable[[str], None]) -> Any:
        """Do one job of ``rho2prop.app.jobs`` and wait for it.

        Raises
        ------
        InputError
            With the job's own message, or if the process ended before it was done.
        """
        self.start()
        connection = self._connection
        try:
            connection.send((job, arguments))
            while True:
                kind, content = connection.recv()
                if kind == "progress":
                    progress(content)
                elif kind == "error":
                    raise InputError(*content)
                else:
                    return content
        except (EOFError, OSError) as error:
            self.stop()
            problem = "the process that worked on it ended, probably for lack of memory"
            raise InputError("app", problem, "Try a smaller file, or again when the machine is less busy") from error

    def stop(self) -> None:
        """End the process and whatever it does, at once."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.join()  # a thread that waits in work() meets the end of the connection


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
        self._workers = [Worker(bundle, threads) for _ in range(n_workers)]
        self._idle = list(self._workers)
        self._freed = asyncio.Condition()
        self._queue_length, self._time_limit_s = queue_length, time_limit_s
        self._n_waiting = 0

    def start(self) -> None:
        """Start one worker now, so that the first job finds its models loaded."""
        self._workers[0].start()

    def stop(self) -> None:
        """End all workers."""
        for worker in self._workers:
            worker.stop()

    async def run(self, job: str, arguments: dict, progress: Callable[[str], None]) -> Any:
        """Do one job of ``rho2prop.app.jobs``; if the caller is cancelled, the job is stopped.

        Parameters
        ----------
        job
            Name of the function.
        arguments
            Its keyword arguments beside ``bundle`` and ``progress``.
        progress
            Called in the event loop with a line on what is going on.

        Raises
        ------
        InputError
            With a message for the user.
        """
        worker = await self._take(progress)
        loop = asyncio.get_running_loop()

        def report(text: str) -> None:
            loop.call_soon_threadsafe(progress, text)

        try:
            work = asyncio.to_thread(worker.work, job, arguments, report)
            return await asyncio.wait_for(work, self._time_limit_s)
        except TimeoutError as error:
            worker.stop()
            problem = f"the job took longer than {self._time_limit_s:.0f} s and was stopped"
            raise InputError("app", problem, "Use `rho2prop predict` on the command line") from error
        except asyncio.CancelledError:
            worker.stop()
            raise
        finally:
            await asyncio.shield(self._give_back(worker))

    async def _take(self, progress: Callable[[str], None]) -> Worker:
        if not self._idle:
            if self._n_waiting >= self._queue_length:
                problem = f"{self._n_waiting} jobs are waiting already"
                raise InputError("app", problem, "Try again in a minute")
            progress("Waiting for other jobs to finish")
        self._n_waiting += 1
        try:
            async with self._freed:
                await self._freed.wait_for(lambda: self._idle)
                return self._idle.pop(0)
        finally:
            self._n_waiting -= 1

    async def _give_back(self, worker: Worker) -> None:
        async with self._freed:
            self._idle.insert(0, worker)  # the one used last has its models loaded
            self._freed.notify()


def _serve(connection: Connection, bundle_folder: Path, threads: int) -> None:
    """What a worker process does until its server is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the server, which ends the workers
    _limit_memory()
    import torch

    from rho2prop.app.jobs import JOBS
    from rho2prop.bundle_reading import load_bundle

    torch.set_num_threads(threads)
    bundle = load_bundle(bundle_folder)
    with contextlib.suppress(InputError):  # said again, to the user, when a job needs the part
        bundle.load()
    while True:
        try:
            job, arguments = connection.recv()
        except EOFError:
            return
        try:
            result = JOBS[job](bundle, lambda text: connection.send(("progress", text)), **arguments)
            connection.send(("result", result))
        except Exception as error:
            connection.send(("error", _message(error)))


def _message(error: Exception) -> tuple[str, str, str]:
    """Source, problem and mend for people; places on this machine are shortened to the file's name."""
    if isinstance(error, InputError):
        name = Path(error.source).name.removeprefix("unpacked-")
        return name, error.problem.replace(error.source, name), error.mend
    if isinstance(error, MemoryError):
        return "app", "there is not enough memory for this file", "Use a coarser grid or a larger machine"
    traceback.print_exception(error, file=sys.stderr)
    return "file", f"cannot be used ({type(error).__name__}: {error})", "Check that it is a whole density file"


def _limit_memory() -> None:
    """A file that needs more than a share of the machine's memory fails, instead of bringing the machine down."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = int(MEMORY_SHARE * total)
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
