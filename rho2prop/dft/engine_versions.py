"""Compare engines: the same program in the same major.minor release counts as one."""

import re
from collections import Counter
from collections.abc import Mapping

from rho2prop.core.errors import InputError


def program_and_release(engine: str) -> tuple[str, str]:
    """Program and major.minor release: ("vasp", "6.4") of "vasp 6.4.2"; ("vasp", "") where no version is stated.

    A patch level fixes faults and keeps the numbers; a minor release may change defaults (GPAW 25.1 and 25.7, VASP 6.3
    and 6.4), and what does not state its version may be any.
    """
    match = re.fullmatch(r"(.*?)\s*\bv?(\d+)(?:\.(\d+))?(?:[.\s\-_a-z+(].*)?", " ".join(engine.lower().split()))
    if match is None:
        return " ".join(engine.lower().split()), ""
    program, major, minor = match.groups()
    return program, major if minor is None else f"{major}.{minor}"


def require_one_engine(engines: Mapping[str, str], what: str, fix: str) -> None:
    """Raise InputError for mixed programs or releases; print a warning for mixed patch levels.

    Parameters
    ----------
    engines
        Program and version, such as "vasp 6.4.2", by id.
    what
        What the ids are, for the messages: "density", "free atom".
    fix
        What to do.

    Raises
    ------
    InputError
        Naming the first id that differs.
    """
    first = next(iter(engines), "")
    for name, engine in engines.items():
        if program_and_release(engine) != program_and_release(engines[first]):
            problem = f"is of the engine {engine!r}, that of {first} of {engines[first]!r}"
            raise InputError(f"{what} of {name}", problem, fix)
    counts = Counter(engines.values())
    if len(counts) > 1:
        found = ", ".join(f"{engine} ({count})" for engine, count in sorted(counts.items()))
        print(f"warning: {what}s of several patch levels are used as of one engine: {found}")
