"""The temporary folder of an app, and those of apps that were killed."""

import os
import subprocess
import sys
import tempfile

import pytest

from rho2prop.app.leftovers import PREFIX, private_folder, remove_leftovers


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def living():
    """A process that lives during the test."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process.pid
    process.communicate()


@pytest.fixture
def dead() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def make(folder, name):
    (folder / name / "pages").mkdir(parents=True)
    (folder / name / "pages" / "CHGCAR").write_text("x")
    return folder / name


def test_only_folders_of_dead_processes_go(temporary, living, dead):
    left = [make(temporary, f"{PREFIX}{dead}-a"), make(temporary, f"{PREFIX}99999999999999999999-a")]
    reused = make(temporary, f"{PREFIX}{living}-old")  # made before the process that has the number now
    os.utime(reused, (1e9, 1e9))
    kept = [make(temporary, f"{PREFIX}{living}-a"), make(temporary, f"{PREFIX}{os.getpid()}-a")]
    kept += [make(temporary, f"{PREFIX}x-a"), make(temporary, f"{PREFIX}-a"), make(temporary, f"other-{dead}-a")]
    remove_leftovers()
    assert not any(folder.exists() for folder in [*left, reused])
    assert all((folder / "pages" / "CHGCAR").exists() for folder in kept)


def test_links_are_not_followed(temporary, tmp_path, dead):
    precious = make(tmp_path, "precious")
    (temporary / f"{PREFIX}{dead}-link").symlink_to(precious)
    inside = make(temporary, f"{PREFIX}{dead}-a")
    (inside / "link").symlink_to(precious)
    (temporary / f"{PREFIX}{dead}-file").write_text("x")
    remove_leftovers()
    assert (precious / "pages" / "CHGCAR").read_text() == "x"
    assert not inside.exists()
    assert {path.name for path in temporary.iterdir()} == {f"{PREFIX}{dead}-link", f"{PREFIX}{dead}-file"}


def test_what_belongs_to_another_user_stays(temporary, dead, monkeypatch):
    folder = make(temporary, f"{PREFIX}{dead}-a")
    other = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: other)
    remove_leftovers()
    assert (folder / "pages" / "CHGCAR").exists()


def test_the_own_folder_is_private_and_gone_at_the_end(temporary, dead):
    left = make(temporary, f"{PREFIX}{dead}-a")
    with private_folder() as home:
        assert home.stat().st_mode & 0o777 == 0o700
        assert not left.exists()
        make(home, "page")
        remove_leftovers()  # as the next app does when it starts
        assert (home / "page" / "pages" / "CHGCAR").exists()
    assert list(temporary.iterdir()) == []
