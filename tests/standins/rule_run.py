"""Single rules through the Snakemake command line."""

import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/local", "--cores", "1", "--nocolor"]
    command += ["--directory", str(folder), *arguments]
    return subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def configured(folder: Path, settings: dict) -> tuple[str, ...]:
    """Options for the table and the settings of a test."""
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump({"materials": str(folder / "materials.csv")} | settings))
    return "--configfile", str(path)
