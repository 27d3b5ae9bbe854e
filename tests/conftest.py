"""The density that most unit tests look at; NumPy as users have it."""

import signal

import numpy as np
import pytest
from standins.densities import gaussian_density


def import_gpaw_as_users_do() -> None:
    """Undo what GPAW does when it sees pytest: ``numpy.empty`` full of NaN (which breaks matplotlib), errors raised."""
    empty, empty_like, errors = np.empty, np.empty_like, np.geterr()
    import gpaw  # noqa: F401

    np.empty, np.empty_like = empty, empty_like
    np.seterr(**errors)


import_gpaw_as_users_do()


def take_signals_as_at_a_terminal() -> None:
    """Jobs that a script puts into the background ignore Ctrl-C, and so would every program that a test starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


take_signals_as_at_a_terminal()


@pytest.fixture
def density():
    return gaussian_density()
