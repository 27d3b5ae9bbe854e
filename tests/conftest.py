"""The density that most unit tests look at; NumPy as users have it."""

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


@pytest.fixture
def density():
    return gaussian_density()
