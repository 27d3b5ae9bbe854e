"""A run that is killed is a failed job: Snakemake repeats it with more memory, and no outcome says that it failed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml
from pymatgen.core import Lattice, Structure
from standins.refusals import lacking
from standins.vasp_faults import FAULTS
from standins.vasp_machine import machine

from rho2prop.dft.outcome import read_outcome

ROOT = Path(__file__).parents[2]


def test_a_killed_run_is_repeated_with_more_memory_and_leaves_no_outcome(tmp_path):
    vasp = machine(tmp_path / "machine", ["Li"], {"Li": ["kill-forever"]})
    Structure(Lattice.cubic(3.0), ["Li"], [[0, 0, 0]]).to(str(tmp_path / "a.cif"))
    (tmp_path / "materials.csv").write_text("material_id,structure,bulk_modulus_gpa\nLi,a.cif,13\n")
    section = {"relax": False, "promolecule": False, "machine": {"binary": vasp.command, "polling_s": 0.1}}
    settings = {"materials": str(tmp_path / "materials.csv"), "dft": {"engine": "vasp", "vasp": section}}
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/local", "--cores", "1", "--nocolor"]
    command += ["--directory", str(tmp_path / "run"), "--configfile", str(tmp_path / "settings.yaml")]

    def attempt(**environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [*command, "--retries", "1", "--quiet", "host", "--allowed-rules", "run_dft", "--", "results/dft/Li"],
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **vasp.environment, **environment},
        )

    killed = attempt()
    assert killed.returncode != 0
    memory_mb = [int(amount) for amount in re.findall(r"resources:.*?\bmem_mb=(\d+)", killed.stdout)]
    assert len(memory_mb) == 2, killed.stdout
    assert memory_mb[1] == 2 * memory_mb[0]
    assert not lacking(killed.stdout, "Li", "static", "SIGKILL")
    assert not (tmp_path / "run/results/dft/Li").exists()
    assert (tmp_path / "run/scratch/dft/Li").exists()

    again = attempt(**{FAULTS: "{}"})
    assert again.returncode == 0, again.stdout
    assert read_outcome(tmp_path / "run/results/dft/Li").status == "converged"
    assert not (tmp_path / "run/scratch/dft/Li").exists()
