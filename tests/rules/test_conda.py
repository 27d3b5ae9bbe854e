"""The rules' conda environment, through Snakemake, with a stand-in for conda: there is no channel to install from here.

What the stand-in cannot show is that the packages of conda-forge fit together.
"""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import yaml
from packaging.requirements import Requirement
from standins.records import seal_in
from standins.tables import write_table

ROOT = Path(__file__).parents[2]
CONDA = """#!{python}
import json, shutil, sys
from pathlib import Path

import yaml
from packaging.requirements import Requirement

arguments = sys.argv[1:]
if arguments[:1] == ["--version"]:
    print("conda 25.3.0")
elif arguments[:1] == ["info"]:
    print(json.dumps({{"conda_prefix": "{folder}", "platform": "linux-64"}}))
elif arguments[:1] == ["config"]:
    print(json.dumps({{"get": {{"channel_priority": "strict"}}}}))
elif arguments[:2] == ["env", "create"]:
    options = dict(zip(arguments[2:], arguments[3:]))
    content = yaml.safe_load(Path(options["--file"]).read_text())
    pins = next(entry["pip"] for entry in content["dependencies"] if isinstance(entry, dict))
    installed = [str(Requirement(line)) for line in pins]  # a reference to another file is no requirement
    prefix = Path(options["--prefix"])
    (prefix / "bin").mkdir(parents=True)
    (prefix / "installed.json").write_text(json.dumps(installed))
    shutil.copy("{folder}/python", prefix / "bin")
elif arguments[:1] != ["clean"]:
    sys.exit(f"conda {{arguments}}: not known to the stand-in")
"""
ENVIRONMENT_PYTHON = """#!/bin/sh
# pip: notes what it is asked for; anything else: the Python of the tests
if [ "$1 $2" = "-m pip" ]; then cp "$GPAW_CONFIG" {folder}/siteconfig.py; echo "$*" >> {folder}/pip.txt; exit 0; fi
touch {folder}/python_of_the_environment
exec {python} "$@"
"""


def pins() -> list[str]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [str(Requirement(line)) for line in lines if line and not line.startswith("#")]


def test_a_rule_runs_in_the_environment_that_snakemake_makes_of_a_copy(tmp_path):
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    scripts = {bin_folder / "conda": CONDA, tmp_path / "python": ENVIRONMENT_PYTHON}
    for path, text in scripts.items():
        path.write_text(text.format(python=sys.executable, folder=tmp_path))
        path.chmod(0o755)
    (bin_folder / "activate").write_text('export PATH="$1/bin:$PATH"\n')
    results = tmp_path / "run" / "results"
    results.mkdir(parents=True)
    table = write_table(tmp_path, 16)
    rows = [f"m-{i},train,X{i % 8},X{i % 8}" for i in range(16)]
    (results / "materials.csv").write_text("material_id,role,formula,chemical_system\n" + "\n".join(rows) + "\n")
    seal_in(tmp_path / "run", ["results/materials.csv"])

    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/local", "--cores", "1", "--nocolor"]
    command += ["--directory", str(tmp_path / "run"), "--config", f"materials={table}", "--sdm", "conda"]
    command += ["--allowed-rules", "write_splits", "--", "results/splits.csv"]
    environment = os.environ | {"PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
    result = subprocess.run(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert result.returncode == 0, result.stdout
    assert len(pd.read_csv(results / "splits.csv")) == 4 * 16 * 4
    assert (tmp_path / "python_of_the_environment").exists()
    prefix = next((tmp_path / "run" / ".snakemake" / "conda").glob("*/installed.json"))
    installed = yaml.safe_load(prefix.read_text())
    gpaw = (tmp_path / "pip.txt").read_text().split()[-1]
    assert sorted([*installed, gpaw]) == sorted(pins())
    assert (tmp_path / "siteconfig.py").read_text() == (ROOT / "envs" / "gpaw_siteconfig.py").read_text()
