"""Results appear whole or not at all, and what a killed process left is cleared."""

import errno
import os
import socket
import stat
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from standins.refusals import refused

from rho2prop.core.atomic_files import atomic, check_output

KILLED = """
import os, signal, sys
from rho2prop.core.atomic_files import atomic
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


def written(path, text="whole"):
    with atomic(path) as temporary:
        temporary.write_text(text)


@pytest.fixture
def null(tmp_path):
    """A device like /dev/null; /dev/null itself where only root may make one."""
    if os.geteuid() != 0:
        return Path(os.devnull)
    os.mknod(tmp_path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    return tmp_path / "null"


def test_a_device_is_written_to_and_stays_one(null, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(null)
    for path in (null, link):
        check_output(path)
        written(path)
        assert stat.S_ISCHR(path.stat().st_mode)
        assert path.read_text() == ""
    assert link.is_symlink()
    assert {path.name for path in tmp_path.iterdir()} <= {"null", "link"}


def test_a_pipe_gets_the_whole_content(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    check_output(pipe)
    text = "0123456789" * 20_000  # more than a pipe holds
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(pipe.read_text)
        written(pipe, text)
        assert reading.result() == text
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_nothing_reaches_a_pipe_when_the_writer_fails(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    end = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)

    def write_half():
        with atomic(tmp_path / "pipe") as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert os.read(end, 10) == b""
    os.close(end)


def test_links_are_followed_and_their_target_is_replaced_whole(tmp_path):
    (tmp_path / "store").mkdir()
    target, outer, inner = tmp_path / "store" / "a.csv", tmp_path / "outer", tmp_path / "store" / "inner"
    target.write_text("earlier")
    target.chmod(0o600)
    inner.symlink_to("a.csv")
    outer.symlink_to("store/inner")
    reader = target.open()
    check_output(outer)
    written(outer)
    assert reader.read() == "earlier"  # another file took the place: nobody sees half of it
    reader.close()
    assert target.read_text() == "whole"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert (os.readlink(outer), os.readlink(inner)) == ("store/inner", "a.csv")
    assert {path.name for path in (tmp_path / "store").iterdir()} == {"a.csv", "inner"}


def test_a_dangling_link_gets_its_target(tmp_path):
    (tmp_path / "link").symlink_to("store/a.csv")
    check_output(tmp_path / "link")
    written(tmp_path / "link")
    assert (tmp_path / "store" / "a.csv").read_text() == "whole"
    assert (tmp_path / "link").is_symlink()


def test_a_linked_folder_of_results_is_replaced_and_the_link_stays(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "old").write_text("")
    (tmp_path / "results").symlink_to("disk")
    with atomic(tmp_path / "results") as folder:
        folder.mkdir()
        (folder / "new").write_text("")
    assert (tmp_path / "results").is_symlink()
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["new"]


def test_links_in_a_circle_are_refused(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with refused(source="a", code="link"):
        check_output(tmp_path / "a")
    with pytest.raises(OSError, check=lambda error: error.errno == errno.ELOOP):
        written(tmp_path / "a")
    assert os.readlink(tmp_path / "a") == "b"


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
def test_standard_output_gets_the_content_after_what_is_there(name, tmp_path):
    """Into a file, where a shell keeps the position for the next program: neither replaced nor overwritten."""
    (tmp_path / "link").symlink_to("/dev/stdout")
    code = (
        "import sys; from rho2prop.core.atomic_files import atomic, check_output\n"
        "check_output(sys.argv[1]); print('first')\n"
        "with atomic(sys.argv[1]) as temporary: temporary.write_text('second\\n')\n"
        "print('third')"
    )
    with (tmp_path / "out").open("w") as out:
        out.write("zeroth\n")
        out.flush()
        subprocess.run([sys.executable, "-c", code, str(tmp_path / name)], stdout=out, check=True)
    assert (tmp_path / "out").read_text().split() == ["zeroth", "first", "second", "third"]


def test_outputs_that_cannot_be_written_are_refused_before_anything_is_computed(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("kept")
    (tmp_path / "link").symlink_to("folder")
    for name, code in {
        "folder": "folder",
        "link": "folder",
        "new/": "folder",
        "file/a.csv": "not_a_folder",
        "file/deeper/a.csv": "not_a_folder",
    }.items():
        with refused(source=name, code=code):
            check_output(f"{tmp_path}/{name}")
    with refused(source="file", code="input"):
        check_output(tmp_path / "file", (tmp_path / "folder" / ".." / "file",))
    check_output(tmp_path / "new" / "deeper" / "a.csv")
    assert not (tmp_path / "new").exists()
    assert (tmp_path / "file").read_text() == "kept"


AS_NOBODY = """
import os, sys
from rho2prop.core.atomic_files import check_output
from rho2prop.core.errors import InputError
if os.geteuid() == 0:
    os.setuid(65534)
for path in sys.argv[1:]:
    try:
        check_output(path)
    except InputError as error:
        print(error.code, error.source)
"""


def test_folders_and_files_without_permission_are_named():
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        folder = Path(name)
        (folder / "closed").mkdir()
        (folder / "kept").write_text("")
        for path, mode in ((folder / "closed", 0o555), (folder / "kept", 0o444), (folder, 0o755)):
            path.chmod(mode)
        outputs = [f"{folder}/closed/a.csv", f"{folder}/kept"]
        arguments = [sys.executable, "-c", AS_NOBODY, *outputs]
        result = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == [f"permission {output}" for output in outputs]
