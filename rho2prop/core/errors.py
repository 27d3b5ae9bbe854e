"""Errors for users, and texts that are safe to print."""

import difflib
import unicodedata
from collections.abc import Iterable
from pathlib import Path


def escaped(text: object, kept: str = "") -> str:
    r"""A text that is safe on a terminal or page: control and invisible characters become escapes (``\x1b``).

    Titles, element names and paths come from files: an escape sequence in one of them must not reach the terminal.

    Parameters
    ----------
    text
        Any text.
    kept
        Characters that stay as they are, such as a line break.
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(c if _is_shown(c) or c in kept else c.encode("unicode_escape").decode("ascii") for c in text)


def printable(text: object) -> str:
    """A text as one line that is safe on a terminal."""
    return escaped(" ".join(str(text).split()))


def _is_shown(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"  # spaces of other widths


class InputError(ValueError):
    """A file or value from the user cannot be used.

    Parameters
    ----------
    source
        File (or file and line) that is wrong, as the user would look for it.
    problem
        What is wrong, with the value found and what was expected.
    fix
        What to do about it.
    code
        The kind of problem in one word ("electrons", "truncated"), for programs: wording may change, codes may not.
    """

    def __init__(self, source: Path | str, problem: str, fix: str, code: str = ""):
        self.source, self.problem, self.fix, self.code = str(source), printable(problem), printable(fix), code
        super().__init__(printable(f"{source}: {problem}. {fix}."))

    def __reduce__(self) -> tuple[type["InputError"], tuple[str, str, str, str]]:
        # a process pool sends exceptions by pickle, which would call the class with the message alone
        return type(self), (self.source, self.problem, self.fix, self.code)


def suggestion(name: str, known: Iterable[str]) -> str:
    """Hint for an unknown name: the closest known one, then all of them."""
    known = {choice.lower(): choice for choice in known}
    close = difflib.get_close_matches(name.lower(), known, 1)
    return (f"Did you mean {known[close[0]]!r}? " if close else "") + f"Known: {', '.join(known.values())}"
