"""The density that most unit tests look at; groups of tests; GPAW, NumPy and signals as users have them."""

import signal
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from standins.densities import gaussian_density

TESTS = Path(__file__).parent
GROUPS = {"unit": "unit", "rules": "slow", "workflow": "slow", "app": "browser", "hpc": "slurm"}  # of a folder

settings.register_profile("rho2prop", deadline=None, derandomize=True, database=None, print_blob=True)
settings.load_profile("rho2prop")  # the same examples everywhere; more of them: --hypothesis-profile default


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each test belongs to one group: that of its folder, or ``slow`` where a unit test is marked so."""
    for item in items:
        group = GROUPS[item.path.relative_to(TESTS).parts[0]]
        if group != "unit" or not item.get_closest_marker("slow"):
            item.add_marker(group)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`pytest -m unit` does not import modules without unit tests: many load torch, GPAW or NiceGUI."""
    if config.option.markexpr != "unit" or collection_path == TESTS:
        return None
    is_other = GROUPS.get(collection_path.relative_to(TESTS).parts[0], "unit") != "unit"
    is_slow = collection_path.suffix == ".py" and "\npytestmark = pytest.mark.slow" in collection_path.read_text()
    return is_other or is_slow or None


class GpawAsUsersImportIt(MetaPathFinder):
    """Undo what GPAW does when it sees pytest: ``numpy.empty`` full of NaN (which breaks matplotlib), errors raised."""

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path) if name == "gpaw" else None
        if spec is not None:
            execute = spec.loader.exec_module

            def execute_and_undo(module: object) -> None:
                empty, empty_like, errors = np.empty, np.empty_like, np.geterr()
                execute(module)
                np.empty, np.empty_like = empty, empty_like
                np.seterr(**errors)

            spec.loader.exec_module = execute_and_undo
        return spec


sys.meta_path.insert(0, GpawAsUsersImportIt())


def take_signals_as_at_a_terminal() -> None:
    """Jobs that a script puts into the background ignore Ctrl-C, and so would every program that a test starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


take_signals_as_at_a_terminal()


@pytest.fixture
def density():
    return gaussian_density()
