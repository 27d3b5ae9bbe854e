"""The workflow as others use it: a module of their own workflow, the layout of the catalog, its test case."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from itertools import combinations, islice
from pathlib import Path

import pandas as pd
import pytest
import yaml
from standins.bundle_run import made_density

from rho2prop.core.jobs.provenance import read_record
from rho2prop.crystals.structures import structure_from_density
from rho2prop.densities.density import write_npz

ROOT = Path(__file__).parents[2]
PREFIX = "nested/run"
VALENCES = {3: 1, 5: 3, 8: 6, 11: 1, 12: 2, 13: 3}  # electrons by atomic number
FIRST_RULES = ("results/dft_outcomes.csv", "results/features/spring_network.csv", "results/splits.csv")
OUTER = """
configfile: "outer.yaml"


module rho2prop:
    snakefile:
        "{root}/workflow/Snakefile"
    config:
        config["rho2prop"]
    {prefix}


use rule * from rho2prop as rho2prop_*


onstart:
    rho2prop.stop_while_jobs_run()


rule all:
    default_target: True
    input:
        rules.rho2prop_all.input,
"""


@dataclass(frozen=True)
class OuterWorkflow:
    """Somebody's workflow in a folder of its own."""

    folder: Path

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess:
        return snakemake(self.folder, *arguments)


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run Snakemake in a folder; stdout and stderr together."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--nocolor", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    )


def write_outer(folder: Path, prefix: str) -> OuterWorkflow:
    """An outer workflow whose materials lie in its folder, named relative to it."""
    data = folder / "data"
    data.mkdir(parents=True)
    rows = ["material_id,structure,density,bulk_modulus_gpa"]
    for i, pair in enumerate(islice(combinations(VALENCES, 2), 12)):
        name, density = f"m{i:02d}", made_density(pair, electrons=float(sum(VALENCES[number] for number in pair)))
        write_npz(density, data / f"{name}.npz")
        structure_from_density(density).to(str(data / f"{name}.vasp"), fmt="poscar")
        rows.append(f"{name},{name}.vasp,{name}.npz,{50 + i if i else ''}")
    (data / "materials.csv").write_text("\n".join(rows) + "\n")
    settings = {"materials": "data/materials.csv", "dft": {"engine": "files"}, "evaluation": {"n_folds": 3}}
    (folder / "outer.yaml").write_text(yaml.safe_dump({"rho2prop": settings, "something": "else"}))
    (folder / "Snakefile").write_text(OUTER.format(root=ROOT, prefix=f'prefix: "{prefix}"' if prefix else ""))
    return OuterWorkflow(folder)


@pytest.fixture(scope="module")
def nested(tmp_path_factory) -> OuterWorkflow:
    """The first rules, run below a prefix."""
    outer = write_outer(tmp_path_factory.mktemp("outer"), PREFIX)
    result = outer.snakemake(*(f"{PREFIX}/{path}" for path in FIRST_RULES))
    assert result.returncode == 0, result.stdout[-6000:]
    return outer


def planned(output: str) -> dict[str, int]:
    """Jobs by rule, from the table of a dry run."""
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", output, re.MULTILINE)}


@pytest.mark.parametrize("prefix", ["", PREFIX])
def test_a_dry_run_of_everything_plans_what_a_run_of_its_own_plans(tmp_path, prefix):
    outer = write_outer(tmp_path / "outer", prefix)
    result = outer.snakemake("--dry-run")
    assert result.returncode == 0, result.stdout[-6000:]
    alone = tmp_path / "alone"
    (alone / "config").mkdir(parents=True)
    settings = yaml.safe_load((outer.folder / "outer.yaml").read_text())["rho2prop"]
    settings["materials"] = str(outer.folder / settings["materials"])
    (alone / "config/config.yaml").write_text(yaml.safe_dump(settings))
    expected = planned(snakemake(ROOT, "--directory", str(alone), "--dry-run").stdout)
    assert expected["run_dft"] == 12
    renamed = {f"rho2prop_{rule}": count for rule, count in expected.items() if rule not in ("all", "total")}
    found = planned(result.stdout)
    assert {rule: count for rule, count in found.items() if rule not in ("all", "rho2prop_all", "total")} == renamed
    assert not (outer.folder / "results").exists()


def test_results_lie_below_the_prefix_with_records_as_in_a_run_of_its_own(nested, monkeypatch):
    assert sorted(path.name for path in nested.folder.iterdir()) == [
        ".snakemake", "Snakefile", "data", "nested", "outer.yaml",
    ]  # fmt: skip
    monkeypatch.chdir(nested.folder / PREFIX)
    assert pd.read_csv("results/dft_outcomes.csv")["status"].tolist() == ["converged"] * 11
    assert len(pd.read_csv("results/features/spring_network.csv")) == 11
    record = read_record("results/dft/m01")
    assert set(map(Path, record.outside)) == {nested.folder / "data/m01.npz", nested.folder / "data/m01.vasp"}
    assert "results/materials.csv" in read_record("results/splits.csv").inputs


def test_a_second_run_has_nothing_to_do_until_a_result_is_damaged(nested):
    targets = [f"{PREFIX}/{path}" for path in FIRST_RULES]
    assert "Nothing to be done" in nested.snakemake(*targets).stdout
    table = nested.folder / PREFIX / FIRST_RULES[1]
    whole = table.read_bytes()
    try:
        table.write_bytes(whole.replace(b"m01", b"m99"))
        result = nested.snakemake("--dry-run", *targets)
    finally:
        table.write_bytes(whole)
    assert result.returncode != 0
    assert FIRST_RULES[1] in result.stdout


def test_the_test_case_of_the_catalog_is_found_in_its_folder():
    for snakefile in ("Snakefile", "workflow/Snakefile"):
        result = snakemake(ROOT, "--directory", ".test", "--dry-run", "--snakefile", snakefile)
        assert result.returncode == 0, result.stdout[-3000:]
        settings = yaml.safe_load((ROOT / ".test/config/config.yaml").read_text())
        assert planned(result.stdout)["train_autoencoder"] == 1 + len(settings["autoencoder"]["compared_fields"])


def test_the_catalog_entry_has_the_keys_that_the_catalog_reads():
    entry = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert entry["mandatory-flags"].keys() == {"desc", "flags"}
    deployment = entry["software-stack-deployment"]
    assert deployment.keys() == {"conda", "apptainer", "apptainer+conda", "report"}
    assert set(map(type, deployment.values())) == {bool}
    profile = entry["mandatory-flags"]["flags"].removeprefix("--profile ")
    assert (ROOT / profile / "profile.v9+.yaml").is_file()


def test_the_readme_of_the_configuration_has_every_section_of_the_schema():
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())["properties"]
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", (ROOT / "config/README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert dict(rows) == {section: content["description"] for section, content in schema.items()}
