"""The one exception that a user is meant to read."""

from pathlib import Path


class InputError(ValueError):
    """A file or value that the user gave cannot be used.

    Parameters
    ----------
    source
        File (or file and line) that is wrong, as the user would look for it.
    problem
        What is wrong, with the value found and what was expected.
    mend
        What to do about it.
    """

    def __init__(self, source: Path | str, problem: str, mend: str):
        self.source, self.problem, self.mend = str(source), problem, mend
        super().__init__(" ".join(f"{source}: {problem}. {mend}.".split()))
