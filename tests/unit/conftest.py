"""The server that stands in for the Materials Project."""

import pytest
from standins.mp_materials import documents
from standins.mp_server import MaterialsProjectServer


@pytest.fixture
def server(monkeypatch):
    with MaterialsProjectServer(*documents()) as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        yield running
