"""One small run of the whole chain, live GPAW included, that the tests of this folder look at."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Run:
    """A working directory of the workflow and the options that belong to it."""

    folder: Path
    options: tuple[str, ...] = ()

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess:
        """Run Snakemake here; stdout and stderr together."""
        command = [sys.executable, "-m", "snakemake", "--profile", "profiles/local", "--cores", "2", "--nocolor"]
        return subprocess.run(
            [*command, "--directory", str(self.folder), *self.options, *arguments],
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )


@pytest.fixture(scope="session")
def elements_run(tmp_path_factory) -> Run:
    """The embedded set, few and small: real SCF densities, every stage, every kind of model."""
    run = Run(tmp_path_factory.mktemp("elements"), ("--configfile", "tests/workflow/small.yaml"))
    result = run.snakemake()
    assert result.returncode == 0, result.stdout[-6000:]
    return run
