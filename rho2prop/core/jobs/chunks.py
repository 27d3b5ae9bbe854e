"""Chunks of materials: the features of each are one job.

Which materials share a chunk follows from their ids alone, not from the order of the table: a row that is added,
removed or given a label changes one chunk, and one that makes its chunk too large divides that chunk only.

The Snakefile imports this module: nothing heavy at the top.
"""

import hashlib
from functools import cache

WHOLE = "all"  # name of the chunk of a table that needs no second one
PATTERN = rf"{WHOLE}|[01]+"


@cache
def chunks_of(names: tuple[str, ...], size: int) -> dict[str, tuple[str, ...]]:
    """Chunks of at most ``size`` of these ids, by the first bits of the hash that their members share.

    Parameters
    ----------
    names
        Ids, each once.
    size
        A chunk with more of them is halved by the next bit. The hash spreads ids evenly, so chunks of a large table
        have about ``size / 2`` to ``size`` members.

    Returns
    -------
    dict
        Name of each chunk, such as ``0110``, to its sorted ids; ``all`` for the only one.
    """
    bits = {name: _bits(name) for name in names}
    found: dict[str, tuple[str, ...]] = {}
    waiting = [("", sorted(names))] if names else []
    while waiting:
        prefix, members = waiting.pop()
        if len(members) <= size:
            found[prefix or WHOLE] = tuple(members)
            continue
        for bit in "10":
            half = [name for name in members if bits[name][len(prefix)] == bit]
            if half:
                waiting.append((prefix + bit, half))
    return found


def _bits(name: str) -> str:
    return f"{int.from_bytes(hashlib.sha256(name.encode()).digest()):0256b}"
