"""What a run of VASP died of, by its exit status and its last words."""

import pytest

from rho2prop.dft.failures import EngineError, SetupError, Unfinished
from rho2prop.dft.vasp.causes import CannotStart, Crashed, DiskFull, Killed, OutOfMemory, Refused, crash


def test_the_words_below_the_banner_of_vasp_are_the_reason(tmp_path):
    (tmp_path / "vasp.out").write_text(
        " -----\n|     EEEEEEE  RRRRRR   RRRRRR   OOOOOOO  RRRRRR     ###   |\n|     E        R     R  R     R     |\n"
        "|     |\n|     The number of k-points is too small for the tetrahedron scheme.     |\n -----\n"
    )
    found = crash(tmp_path, "static", 1)
    assert type(found) is Refused
    assert "The number of k-points is too small" in str(found)
    assert "EEEE" not in str(found)


@pytest.mark.parametrize(
    ("text", "returncode", "kind", "verdict"),
    [
        ("forrtl: No space left on device", 1, DiskFull, Unfinished),
        ("forrtl: severe (38): error during write, unit 12", 38, DiskFull, Unfinished),
        ("forrtl: severe (41): insufficient virtual memory", 41, OutOfMemory, Unfinished),
        ("slurmstepd: error: Detected 1 oom_kill event in StepId=7.0", 137, OutOfMemory, Unfinished),
        ("srun: error: node1: task 3: Out Of Memory", 137, OutOfMemory, Unfinished),
        ("", -9, Killed, Unfinished),
        ("", 137, Killed, Unfinished),
        ("", -11, Crashed, Unfinished),
        ("forrtl: severe (174): SIGSEGV, segmentation fault occurred", 174, Crashed, Unfinished),
        ("vasp_std: error while loading shared libraries: libmkl.so: cannot open", 127, CannotStart, SetupError),
        ("slurmstepd: error: execve(): vasp_std: No such file or directory", 2, CannotStart, SetupError),
        (" |  VERY BAD NEWS! internal error in subroutine SGRCON: |", 1, Refused, EngineError),
        (" I REFUSE TO CONTINUE WITH THIS SICK JOB ..., BYE!!!", 1, Refused, EngineError),
    ],
)
def test_what_vasp_died_of_decides_whose_fault_it_is(tmp_path, text, returncode, kind, verdict):
    (tmp_path / "vasp.out").write_text(" running on 4 cores\n")
    (tmp_path / "std_err.txt").write_text(text + "\n")
    found = crash(tmp_path, "static", returncode)
    assert type(found) is kind
    assert text.strip(" |") in str(found)
    assert type(found.verdict("m", 2)) is verdict
