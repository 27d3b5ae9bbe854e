"""Densities of several materials by one job, for engines that take about a second each."""

import re

import pytest
from pymatgen.core import Lattice, Structure
from standins.rule_run import configured, snakemake
from standins.tables import METALS

from rho2prop.core.jobs.provenance import read_record
from rho2prop.densities.density import read_npz
from rho2prop.dft.outcome import read_outcome

pytest.importorskip("gpaw")
COARSE = {"dft": {"engine": "atoms", "atoms": {"ecut_ev": 200, "machine": {"materials_per_job": 5}}}}
FINISHED = re.compile(r"\(Rule: run_dft_\w+\)")


@pytest.fixture(scope="module")
def superposed(tmp_path_factory):
    """A run of five metals and a material without a dataset."""
    folder = tmp_path_factory.mktemp("superposed")
    for symbol in (*METALS, "Tc"):
        Structure(Lattice.cubic(4.0), [symbol], [[0, 0, 0]]).to(str(folder / f"{symbol}.cif"))
    append(folder, "material_id,structure,bulk_modulus_gpa", *(f"{name},{name}.cif,50" for name in METALS[:5]))
    append(folder, "Tc,Tc.cif,60")
    return folder, run(folder)


def append(folder, *rows):
    with open(folder / "materials.csv", "a", encoding="utf-8") as table:
        table.writelines(f"{row}\n" for row in rows)


def run(folder, *options):
    names = [line.split(",")[0] for line in (folder / "materials.csv").read_text().splitlines()[1:]]
    targets = ("--", *(f"results/dft/{name}" for name in names))
    return snakemake(folder / "run", *configured(folder, COARSE), *options, *targets)


def test_each_material_has_its_own_outcome_density_and_record(superposed, monkeypatch):
    folder, result = superposed
    monkeypatch.chdir(folder / "run")
    assert result.returncode == 0, result.stdout
    assert len(FINISHED.findall(result.stdout)) == 2  # six materials, at most five in a job
    for name in METALS[:5]:
        place = f"results/dft/{name}"
        assert read_outcome(place).status == "converged"
        density = read_npz(f"{place}/density.npz")
        assert density.kind == "promolecule"
        assert density.integral() == pytest.approx(density.n_electrons, abs=1e-3)
        assert read_record(place).rule.startswith("run_dft")


def test_a_material_that_fails_leaves_those_of_its_job_alone(superposed):
    folder, _ = superposed
    assert read_outcome(folder / "run/results/dft/Tc").status == "failed"
    assert not (folder / "run/results/dft/Tc/density.npz").exists()


def test_a_row_more_repeats_one_job(superposed):
    folder, _ = superposed
    assert "Nothing to be done" in run(folder).stdout
    append(folder, "Cu,Cu.cif,70")
    assert len(FINISHED.findall(run(folder).stdout)) == 1
