"""Strict reader of lines and blocks of numbers: each number is one word, each block ends at the end of a line."""

import io
import re
from pathlib import Path

import numpy as np
from pymatgen.optimization.fast_parser import parse_n_doubles  # a C loop: 40 MB of numbers in 50 ms

from rho2prop.core.errors import InputError
from rho2prop.core.file_content import FIX_CUT

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eEdD][+-]?\d+|[+-]\d{3})?")
# Fortran drops the E where the exponent has three digits: 0.12345678901-100
WITHOUT_E = re.compile(rb"(\.\d*)([+-]\d{3})(?![\d.])")
WITH_D = re.compile(rb"(?<=[\d.])[dD](?=[+-]?\d)")
INTEGERS_LINE = re.compile(rb"\n[ \t]*\d+[ \t]+\d+[ \t]+\d+[ \t]*\r?(?=\n)")
CHUNK = 1 << 20
SHOWN = 40  # characters of a line in a message
E_WORD = 13  # characters of a number as 0.1234567E+00, which is how VASP writes moments


def fortran_float(word: str) -> float:
    """A number as Fortran may have written it; ValueError for anything else."""
    if not NUMBER.fullmatch(word):
        raise ValueError(f"{word[:SHOWN]!r} is not a number")
    return float(WITH_D.sub(b"E", WITHOUT_E.sub(rb"\1E\2", word.encode())))


class Scanner:
    """Position in a text.

    Parameters
    ----------
    data
        Content of the file; lines end in LF, CRLF or CR.
    source
        File that messages name.
    """

    def __init__(self, data: bytes, source: Path | str):
        if b"\r" in data[:4096] and b"\n" not in data[:4096]:
            data = data.replace(b"\r", b"\n")
        self.data, self.source, self.position = data, source, 0
        self._is_repaired = False

    @property
    def n_left(self) -> int:
        """Bytes from here to the end."""
        return len(self.data) - self.position

    def line(self) -> str | None:
        """The next line without its end, or None at the end of the text."""
        if not self.n_left:
            return None
        end = self.data.find(b"\n", self.position)
        end = len(self.data) if end < 0 else end
        line = self.data[self.position : end].decode("utf-8", "replace")
        self.position = end + 1 if end < len(self.data) else end
        return line.rstrip("\r")

    def needed_line(self, what: str) -> str:
        """The next line, which must exist and not be blank."""
        line = self.line()
        if line is None or not line.strip():
            problem = f"{'ends' if line is None else 'is blank'} here, expected {what}"
            raise self.error(problem, FIX_CUT, back=1)
        return line

    def skip_blank(self) -> None:
        """Go to the start of the next line that is not blank."""
        while self.n_left:
            before = self.position
            if (self.line() or "").strip():
                self.position = before
                return

    def error(self, problem: str, fix: str, at: int | None = None, back: int = 0, code: str = "") -> InputError:
        """An InputError that names the line of a position (default: the current one, ``back`` characters before)."""
        position = (self.position if at is None else at) - back
        line = self.data.count(b"\n", 0, max(position, 0)) + 1
        return InputError(f"{self.source}, line {line}", problem, fix, code)

    def values(self, n_values: int, what: str) -> np.ndarray:
        """The next numbers, which end where a line ends; shape (n_values,).

        Parameters
        ----------
        n_values
            How many; checked against the size of the file before memory is taken.
        what
            The block, for messages.
        """
        if 2 * n_values - 1 > self.n_left:
            problem = f"{what} should hold {n_values} numbers, but only {max(self.n_left, 0)} bytes follow"
            raise self.error(problem, FIX_CUT)
        values = np.empty(n_values)
        end = self._parse(values)
        if end is None and not self._is_repaired:
            self._repair()
            end = self._parse(values)
        if end is None:
            raise self._explanation(n_values, what)
        self._check_block(n_values, end, what)
        line_end = self.data.find(b"\n", end)
        self.position = len(self.data) if line_end < 0 else line_end + 1
        return values

    def _parse(self, values: np.ndarray) -> int | None:
        """Fill ``values``; the position after them, or None unless each word is one number and the line ends there."""
        stream = io.BytesIO(self.data)  # shares the memory
        stream.seek(self.position)
        if parse_n_doubles(stream, values, len(values)) != len(values):
            return None
        end = stream.tell()
        line_end = self.data.find(b"\n", end)
        rest = self.data[end : line_end if line_end >= 0 else len(self.data)]
        return end if not rest.strip() and self._n_words(end) == len(values) else None

    def _n_words(self, end: int) -> int:
        text = np.frombuffer(self.data, np.uint8, end - self.position, self.position)
        n_words, was_space = 0, True
        for start in range(0, len(text), CHUNK):
            space = text[start : start + CHUNK] <= 32
            n_words += int(was_space and not space[0]) + int(np.count_nonzero(space[:-1] > space[1:]))
            was_space = bool(space[-1])
        return n_words

    def _repair(self) -> None:
        """Give numbers the exponents that Fortran left out or wrote with D."""
        self._is_repaired = True
        rest = WITHOUT_E.sub(rb"\1E\2", self.data[self.position :])
        self.data = self.data[: self.position] + WITH_D.sub(b"E", rest)

    def _explanation(self, n_values: int, what: str) -> InputError:
        """Reason why the next numbers are not ``n_values`` words up to the end of a line."""
        n_found, position = 0, self.position
        while position < len(self.data):
            end = self.data.find(b"\n", position)
            end = len(self.data) if end < 0 else end
            words = self.data[position:end].decode("utf-8", "replace").split()
            for i, word in enumerate(words):
                if NUMBER.fullmatch(word) or word.lower().lstrip("+-") in ("nan", "inf", "infinity"):
                    continue
                if i == 0 and word[0].isalpha():  # text: the block is over
                    problem = f"{what} ends after {n_found + i} of {n_values} numbers, at {' '.join(words)[:SHOWN]!r}"
                    return self.error(problem, "A line is missing: copy the file again, or compute it again", position)
                return self.error(f"{what} holds {word[:SHOWN]!r}, expected a number", FIX_CUT, position)
            n_found += len(words)
            if n_found > n_values:
                self._refuse_integers(end, what)
                problem = (
                    f"{what} has {n_values} numbers, but the last of them does not end its line "
                    f"({n_found - n_values} more follow)"
                )
                return self.error(problem, "A line is missing, or the size of the grid is wrong: " + FIX_CUT, position)
            position = end + 1
        return self.error(f"{what} ends after {n_found} of {n_values} numbers", FIX_CUT, len(self.data), back=1)

    def _check_block(self, n_values: int, end: int, what: str) -> None:
        """Find a line of another kind that a lost line has moved into the block, and a cut inside the last number."""
        if n_values > 3 and self.data.count(b".", self.position, end) != n_values:
            self._refuse_integers(end, what)
        first_end = self.data.find(b"\n", self.position, end)
        if first_end < 0:
            lengths, last_start = (
                [len(word) for word in self.data[max(self.position, end - 400) : end].split()[1:-1]],
                end,
            )
        else:
            last_start = self.data.rfind(b"\n", self.position, end) + 1
            before = self.data.rfind(b"\n", self.position, last_start - 1) + 1 or self.position
            first = self.data[self.position : first_end].split() + self.data[before : last_start - 1].split()
            lengths = [len(word.lstrip(b"+-")) for word in first]
        self._check_last_words(lengths, last_start, end, what)

    def _refuse_integers(self, end: int, what: str) -> None:
        match = INTEGERS_LINE.search(self.data, max(self.position - 1, 0), min(end + 1, len(self.data)))
        if match:
            problem = f"{what} holds the line {match[0].decode().strip()!r}, which looks like the size of a grid"
            raise self.error(problem, f"A line is missing before it: {FIX_CUT}", match.start() + 1)

    def _check_last_words(self, lengths: list[int], last_start: int, end: int, what: str) -> None:
        words = self.data[last_start:end].split() or self.data[max(self.position, end - 400) : end].split()[-1:]
        if not lengths or not words:
            return
        last_lengths = [len(word.lstrip(b"+-")) for word in words]
        if end == len(self.data) and last_lengths[-1] < min(lengths):
            problem = f"{what} ends inside a number ({words[-1].decode(errors='replace')[:SHOWN]})"
            raise self.error(problem, FIX_CUT, end)
        is_e_format = max(lengths) - min(lengths) <= 1 and min(lengths) >= E_WORD
        is_g_format = max(lengths) <= E_WORD - 2 and min(last_lengths) >= E_WORD - 1
        if first_of_other_layout(last_lengths, lengths) and (is_e_format or is_g_format):
            problem = f"the last line of {what} is written with other digits than the lines before it"
            raise self.error(problem, f"A line is missing before it: {FIX_CUT}", last_start)


def first_of_other_layout(last_lengths: list[int], expected: list[int]) -> bool:
    """Whether all words are shorter or longer than those of the lines before by more than a sign."""
    return max(last_lengths) < min(expected) - 1 or min(last_lengths) > max(expected) + 1
