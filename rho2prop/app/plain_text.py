"""Untrusted texts, made safe for a page and for the terminal."""

import io
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import TextIO

from rho2prop.core.errors import escaped

LONGEST_TEXT = 2000
# A path from the root at the start of a word; "e/Å³" and "http://…" are none.
FOLDERS = r"(?:[^\s/'\"“”`,;()<>]+/)"
ABSOLUTE_PATH = re.compile(rf"(?<![\w/.:~-])/{FOLDERS}+")


def for_page(text: str, *folders: Path) -> str:
    """A message for a visitor: printable, of bounded length, without folders of this machine.

    Parameters
    ----------
    text
        Message.
    folders
        Folders whose names must not be shown, whatever characters they hold; names of files are.
    """
    for folder in sorted({*folders, Path(tempfile.gettempdir())}, key=lambda folder: len(str(folder)), reverse=True):
        text = re.sub(rf"{re.escape(str(folder))}/{FOLDERS}*", "", text)
    text = escaped(ABSOLUTE_PATH.sub("", text), kept="\n")
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]} …"


class _PrintableStream(io.TextIOBase):
    """A text stream that escapes control characters."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(escaped(text, kept="\n\t"))
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()


@contextmanager
def printable_stderr() -> Iterator[None]:
    """Context in which tracebacks and logs reach the terminal with control characters escaped."""
    with redirect_stderr(_PrintableStream(sys.stderr)):
        yield
