"""Errors survive a process pool, and nothing that a file says reaches the terminal raw."""

import importlib
import pkgutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import Pipe, get_context

import pytest
from standins.refusals import refused

import rho2prop
from rho2prop.core.errors import InputError, escaped, printable
from rho2prop.densities.density import read_npz

ARGUMENTS = [("a.npz", "is cut", "Copy it again"), ("it failed",), ("a kind", "its detail")]


def exception_classes() -> list[type]:
    for module in pkgutil.walk_packages(rho2prop.__path__, "rho2prop."):
        if not module.name.endswith(("__main__", "graph_network")):  # the latter needs an extra package
            importlib.import_module(module.name)
    found, unseen = set(), [Exception]
    while unseen:
        for subclass in unseen.pop().__subclasses__():
            unseen.append(subclass)
            if subclass.__module__.startswith("rho2prop"):
                found.add(subclass)
    return sorted(found, key=lambda cls: cls.__name__)


def made(cls: type) -> Exception:
    for arguments in ARGUMENTS:
        try:
            return cls(*arguments)
        except TypeError:
            continue
    raise AssertionError(f"{cls} takes other arguments: add them here")


@pytest.mark.slow
def test_every_exception_of_the_package_reaches_another_process_unchanged():
    receiver, sender = Pipe(duplex=False)  # as a process pool sends them
    classes = exception_classes()
    assert {"InputError", "EngineError", "Rejected", "ServiceError", "Unreachable"} <= {cls.__name__ for cls in classes}
    for cls in classes:
        error = made(cls)
        sender.send(error)
        copy = receiver.recv()
        assert type(copy) is cls
        assert str(copy) == str(error)
        assert vars(copy) == vars(error)


def test_a_truncated_density_in_a_process_pool_is_named(tmp_path):
    path = tmp_path / "cut.npz"
    path.write_bytes(b"PK\x03\x04 cut off")
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
        with refused(source="cut.npz", code="truncated") as caught:
            pool.submit(read_npz, path).result()
        assert caught.value.source == str(path)
        assert caught.value.fix
        with pytest.raises(InputError):  # the pool is not broken
            pool.submit(read_npz, tmp_path / "missing.npz").result()


def test_control_characters_do_not_reach_the_terminal(tmp_path):
    title = "\x1b[2J\x1b]0;owned\x07Si\u202e\udc80\n2"
    assert printable(title) == r"\x1b[2J\x1b]0;owned\x07Si\u202e\udc80 2"
    error = InputError(tmp_path / title, f"holds {title}", f"Remove {title}")
    for text in (str(error), error.problem, error.fix):
        assert text.isprintable()
        assert "owned" in text
    assert escaped("two  blanks\x9b\n") == r"two  blanks\x9b\n"
    assert printable("∫ρ of Å³ und Umlaute ü") == "∫ρ of Å³ und Umlaute ü"
