"""How the tests of this folder call the workflow."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

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
