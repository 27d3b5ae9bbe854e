"""Context of every workflow script: log messages, check inputs before, seal outputs after."""

import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any, TextIO

from rho2prop.core.errors import InputError
from rho2prop.core.jobs.provenance import check_inputs, keep, seal, unseal
from rho2prop.core.jobs.request_record import record_request
from rho2prop.core.jobs.running_jobs import running_job

PATIENCE_S, PAUSE_S = 60, 5  # on a shared file system other nodes may see an old record, usually for less than this


class _Tee:
    """Write to the log and, in an interactive run, to the terminal (progress bars)."""

    def __init__(self, *streams: TextIO):
        self.streams = streams

    def write(self, text: str) -> int:
        for stream in self.streams:
            stream.write(text)
            stream.flush()
        return len(text)

    def flush(self) -> None:
        for stream in self.streams:
            stream.flush()

    def isatty(self) -> bool:
        return False


@contextmanager
def logged(path: str) -> Iterator[None]:
    """Send stdout and stderr to the log file; exit with code 1 and one line on an InputError."""
    terminal = sys.stderr
    with running_job(path), Path(path).open("w", encoding="utf-8") as log:
        stream = _Tee(log, terminal) if terminal.isatty() else _Tee(log)
        sys.stdout = sys.stderr = stream
        try:
            yield
        except InputError as error:
            print(f"rho2prop: {error}", file=_Tee(log, terminal))
            sys.exit(1)
        except Exception:
            print(traceback.format_exc(), file=_Tee(log, terminal))
            sys.exit(1)
        finally:
            sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__


@contextmanager
def job(snakemake: Any, updated: Iterable[str] = (), later: Iterable[str] = ()) -> Iterator[None]:
    """Run the body of a workflow script: log it, record its request, check its inputs and record its outputs.

    Parameters
    ----------
    snakemake
        What Snakemake hands to a script.
    updated
        Outputs that are updated in place (``update`` in the rule).
    later
        Names of inputs of which only some are read: their content is checked when ``provenance.CheckedPaths`` gives
        their paths.
    """
    with _in_folder_of_run(snakemake), logged(snakemake.log[0]):
        named = [snakemake.input.get(name, []) for name in later]
        record_request(snakemake.log[0], snakemake.threads, snakemake.resources)
        unread = [path for paths in named for path in ([paths] if isinstance(paths, str) else paths)]
        inputs, outside = _patiently(lambda: check_inputs(snakemake.input, snakemake.threads, unread))
        for path in updated:
            keep(path)
        unseal(snakemake.output)
        yield
        seal(snakemake.output, snakemake.rule, dict(snakemake.wildcards.items()), inputs, outside)


@contextmanager
def _in_folder_of_run(snakemake: Any) -> Iterator[None]:
    """Work where ``results`` and ``logs`` lie: not here if the workflow is a module with a prefix of another one.

    Paths of the job are made relative to that folder, so that records and parameters are those of a run of its own.
    """
    folder = snakemake.log[0].rpartition("logs/")[0]
    if not folder:
        yield
        return
    for name in ("input", "output", "log"):
        paths = getattr(snakemake, name)
        inside = type(paths)(toclone=paths, custom_map=lambda path: str(path).removeprefix(folder))
        setattr(snakemake, name, inside)
    with chdir(folder):
        yield


def _patiently(check: Callable[[], tuple]) -> tuple:
    """Result of a check, repeated in a Slurm job: files of another node may take a moment to appear."""
    end = time.monotonic() + (PATIENCE_S if "SLURM_JOB_ID" in os.environ else 0)
    while True:
        try:
            return check()
        except InputError as error:
            if time.monotonic() >= end:
                raise
            print(f"{error} Looking again in {PAUSE_S} s.", file=sys.stderr)
            time.sleep(PAUSE_S)
