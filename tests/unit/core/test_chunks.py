"""Which materials share a chunk: each in one, stable when the table changes, of even sizes."""

import random

import pytest

from rho2prop.core.jobs.chunks import WHOLE, chunks_of

NAMES = tuple(f"mp-{number}" for number in range(6059))


def members(chunks: dict[str, tuple[str, ...]]) -> list[str]:
    return sorted(name for chunk in chunks.values() for name in chunk)


@pytest.mark.parametrize("size", [1, 7, 64, 250, 10_000])
def test_every_material_is_in_one_chunk_that_is_not_too_large(size):
    chunks = chunks_of(NAMES[:1000], size)
    assert members(chunks) == sorted(NAMES[:1000])
    assert max(map(len, chunks.values())) <= size


@pytest.mark.parametrize(("size", "least", "most"), [(250, 25, 48), (64, 95, 190)])
def test_chunks_of_a_large_table_are_about_as_large_as_asked_for(size, least, most):
    chunks = chunks_of(NAMES, size)
    assert least <= len(chunks) <= most
    assert sum(len(chunk) > size / 3 for chunk in chunks.values()) > 0.9 * len(chunks)


def test_a_small_table_is_one_chunk_and_an_empty_one_none():
    assert chunks_of(("b", "a"), 2) == {WHOLE: ("a", "b")}
    assert chunks_of((), 2) == {}


def test_the_order_of_the_table_does_not_matter():
    shuffled = list(NAMES)
    random.Random(0).shuffle(shuffled)
    assert chunks_of(tuple(shuffled), 250) == chunks_of(NAMES, 250)


def test_a_row_more_or_less_changes_its_own_chunk_only():
    before = chunks_of(NAMES[:999], 64)
    for number in range(999, 1400):  # some of them overflow their chunk
        after = chunks_of(NAMES[: number + 1], 64)
        (changed,) = (set(chunk) for chunk in before.values() if chunk not in after.values())
        new = set().union(*(chunk for chunk in after.values() if chunk not in before.values()))
        assert new == changed | {NAMES[number]}
        before = after
