"""Cores, threads and signals of a process."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rho2prop.core.atomic_files import remove_unfinished

# Libraries whose threads spin while they wait. The matrices here are small: measured in docs/method.md. Not MKL's:
# torch would take the number for its networks.
_MATRIX_LIBRARIES = ("OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "BLIS_NUM_THREADS")
_ENDING = ("SIGINT", "SIGTERM", "SIGHUP")


def available_cores() -> int:
    """Cores that this process may use: its CPU affinity where the system knows one, else all."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def set_library_threads(threads: int) -> None:
    """Threads of the numerical libraries that are loaded after this: one for matrices, ``threads`` for networks.

    Values that the user has set for the matrix libraries are kept.
    """
    for name in _MATRIX_LIBRARIES:
        os.environ.setdefault(name, "1")
    os.environ["OMP_NUM_THREADS"] = str(threads)


@contextmanager
def ends_on_signals() -> Iterator[None]:
    """End this process on Ctrl-C or a request to end, with exit status 128 + the number of the signal.

    An exception would be lost inside an import or compiled code, or wait for other threads. So the handler itself
    removes unfinished files, which only the main thread writes, and ends the process.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {}
    for name in _ENDING:
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:  # nohup
            before[number] = signal.signal(number, _end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, _frame: object) -> None:
    try:
        remove_unfinished()
    finally:
        os._exit(128 + number)
