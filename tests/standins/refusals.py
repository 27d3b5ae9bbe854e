"""What tests assert of a refusal: source, code, and the names and values that it states; its wording is free."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rho2prop.core.errors import InputError

SENTENCE = re.compile(r"(?<![\w.])[a-z]+( [a-z]+){2,}(?![\w.])")  # three words in a row


def lacking(text: object, *data: object) -> list[str]:
    """Which names and values do not stand in a text; part of a word or number is no mention of it."""
    texts = [str(datum) for datum in data]
    assert not any(map(SENTENCE.search, texts)), f"assert on data, not on sentences: {texts}"
    return [datum for datum in texts if not re.search(rf"(?<!\w){re.escape(datum)}(?!\w)", str(text))]


@contextmanager
def refused(
    *data: object, source: object = None, code: str | None = None, by: type[Exception] = InputError
) -> Iterator[pytest.ExceptionInfo]:
    """Expect an error that states all of ``data``.

    Parameters
    ----------
    data
        Names and values, each as a text of its own.
    source, code
        What the error's attributes are (the end of the source), where it is not enough that it states the data.
    by
        Class of the error, exactly.
    """
    with pytest.raises(by) as caught:
        yield caught
    error = caught.value
    assert type(error) is by
    assert not lacking(error, *data), f"{lacking(error, *data)} not in: {error}"
    assert source is None or error.source.endswith(str(source)), error.source
    assert code is None or error.code == code, f"{error.code!r}: {error}"
