"""What strangers wrote, on the page and in the terminal; how much memory the workers may take."""

import io
import sys
from pathlib import Path

import pytest

from rho2prop.app.memory import memory_bytes
from rho2prop.app.plain_text import LONGEST_TEXT, for_page, printable_stderr
from rho2prop.core.errors import escaped


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("MgO μ 密度 é 4 Å³ − “x”", "MgO μ 密度 é 4 Å³ − “x”"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\rb\x00\x7f\x9b", "a\\rb\\x00\\x7f\\x9b"),
        ("a\u202egnp.exe", "a\\u202egnp.exe"),  # shown from right to left: aexe.png
        ("a\ud800", "a\\ud800"),
        ("a\nb", "a\\nb"),
    ],
)
def test_control_characters_are_written_out(text, shown):
    assert escaped(text) == shown
    shown.encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[Errno 2] No such file or directory: '/tmp/a/b/x.npz'", "[Errno 2] No such file or directory: 'x.npz'"),
        ("/srv/my data/x.npz: is empty", "x.npz: is empty"),
        ("cannot open (/usr/lib/python3/y.py)", "cannot open (y.py)"),
        (
            "values in e/Å³, see http://127.0.0.1:8080/report.html",
            "values in e/Å³, see http://127.0.0.1:8080/report.html",
        ),
        ("CHGCAR/cube or 3 / 4", "CHGCAR/cube or 3 / 4"),
    ],
)
def test_messages_show_no_folder(text, shown):
    assert for_page(text, Path("/srv/my data")) == shown


def test_messages_are_bounded():
    assert len(for_page("x" * 10**6)) <= LONGEST_TEXT + 2


def test_nothing_raw_reaches_the_terminal(monkeypatch):
    terminal = io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    with printable_stderr():
        print("Traceback:\n\tfile \x1b]0;title\x07\x1b[2J.npz", file=sys.stderr)
    assert terminal.getvalue() == "Traceback:\n\tfile \\x1b]0;title\\x07\\x1b[2J.npz\n"


def test_the_memory_of_a_job_or_container_counts(tmp_path, monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    machine = memory_bytes(tmp_path)
    assert machine > 10**8
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "self" / "cgroup").write_text("0::/job\n")
    (tmp_path / "sys" / "fs" / "cgroup" / "job").mkdir(parents=True)
    limit = tmp_path / "sys" / "fs" / "cgroup" / "job" / "memory.max"
    limit.write_text("max\n")
    assert memory_bytes(tmp_path) == machine
    limit.write_text("3000000\n")
    assert memory_bytes(tmp_path) == 3_000_000
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "2")
    assert memory_bytes(tmp_path) == 2 * 2**20
