"""What a workflow script does with its messages: all to the rule's log, errors for people also to the terminal."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rho2prop.errors import InputError
from rho2prop.running_jobs import running_job


class _Tee:
    """Write to the log and, if a person looks on, to the terminal (progress bars)."""

    def __init__(self, *streams):
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
    """Send stdout and stderr to the log file; end with one clear line and exit code 1 on a user's error."""
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
