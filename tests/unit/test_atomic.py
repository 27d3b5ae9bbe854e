"""Results appear whole or not at all, and what a killed process left is cleared."""

import socket
import subprocess
import sys

import pytest

from rho2prop.atomic import atomic

KILLED = """
import os, signal, sys
from rho2prop.atomic import atomic
with atomic(sys.argv[1]) as folder:
    folder.mkdir()
    (folder / "half").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_an_error_leaves_the_earlier_result_and_nothing_else(tmp_path):
    def write_half():
        with atomic(tmp_path / "a.csv") as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    (tmp_path / "a.csv").write_text("whole")
    with pytest.raises(ZeroDivisionError):
        write_half()
    assert (tmp_path / "a.csv").read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_leftovers_of_a_killed_process_go_with_the_next_attempt_but_not_those_of_a_live_one(tmp_path):
    result = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "m[1]")])
    assert result.returncode == -9
    assert [path.name.startswith(".partial-") for path in tmp_path.iterdir()] == [True]
    live = tmp_path / f".partial-{socket.gethostname()}-1-m[1]"
    other = tmp_path / ".partial-elsewhere-999999999-m[1]"
    for path in (live, other):
        path.mkdir()
    with atomic(tmp_path / "m[1]") as temporary:
        temporary.mkdir()
    assert {path.name for path in tmp_path.iterdir()} == {"m[1]", live.name, other.name}
