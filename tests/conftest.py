"""The density that most unit tests look at."""

import pytest
from standins.densities import gaussian_density


@pytest.fixture
def density():
    return gaussian_density()
