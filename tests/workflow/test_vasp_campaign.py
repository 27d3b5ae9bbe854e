"""A campaign of VASP runs (the stand-in of tests/standins) that is killed at random moments, and the inputs of a user
without licence.
"""

import html
import os
import random
import signal
import subprocess
import sys
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from pymatgen.core import Structure
from pymatgen.io.vasp.inputs import Incar
from standins.chain import ROOT
from standins.potcars import MARKER
from standins.vasp_faults import LEDGER
from standins.vasp_faults import STEP_S as STEP_TIME
from standins.vasp_files import parse_formula
from standins.vasp_machine import PATIENCE_S, Machine, is_running, machine, wait_until

from rho2prop.densities.density import Density, read_npz
from rho2prop.dft.base import Resources, engine_settings, run_material

pytestmark = pytest.mark.filterwarnings("ignore::pymatgen.io.vasp.inputs.UnknownPotcarWarning")
FCC = np.array([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])
SHORT = {  # of the chain behind the densities, what is enough for a report
    "evaluation": {
        "splits": ["random"],
        "n_folds": 3,
        "regressions": {
            "mean": [],
            "lightgbm": ["magpie_fingerprint"],
            "attention_cnn": [],
            "gaussian_process": [],
            "blend": [],
            "multiscale_cnn": [],
            "multiscale_cnn_single": [],
            "graph_network": [],
        },
    },
    "learning_curve": {"sizes": [], "models": []},
    "predict": [{"model": "lightgbm", "features": "magpie_fingerprint"}],
    "invariance": {"n_materials": 1, "models": [{"model": "lightgbm", "features": "magpie_fingerprint"}]},
}
CRYSTALS = {
    "magnesia": Structure(FCC * 4.178, ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    "lithia": Structure(FCC * 4.60, ["Li", "Li", "O"], [[0.25, 0.25, 0.25], [0.75, 0.75, 0.75], [0, 0, 0]]),
    "nickel": Structure(FCC * 3.60, ["Ni"], [[0, 0, 0]]),
    "sodium-chloride": Structure(FCC * 5.60, ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
}
SEED = 20261121
N_KILLS = 2
N_IONIC = 6  # steps of each of these relaxations
STEP_S = 0.05
TARGET = "results/materials.csv"


@dataclass(frozen=True)
class VaspRun:
    """A run of the workflow whose engine is VASP."""

    folder: Path
    vasp: Machine
    configs: tuple[Path, ...]

    def command(self, *arguments: str) -> list[str]:
        return [
            *(
                sys.executable,
                "-m",
                "snakemake",
                "--profile",
                "profiles/local",
                "--cores",
                "2",
                "--nocolor",
                "--nolock",
            ),
            *("--directory", str(self.folder), "--configfile", *map(str, self.configs)),
            *arguments,
        ]

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start Snakemake as a user does, as the head of a process group of its own."""
        with open(self.folder.parent / "snakemake.log", "ab") as log:
            environment = {**os.environ, **self.vasp.environment, "OMP_NUM_THREADS": "1"}
            command = self.command(*arguments)
            return subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, process_group=0
            )

    def finish(self, *arguments: str) -> None:
        """Run Snakemake to its end, which must be a good one."""
        process = self.start(*arguments)
        assert process.wait(PATIENCE_S) == 0, self.said[-6000:]

    @property
    def said(self) -> str:
        return (self.folder.parent / "snakemake.log").read_text(errors="replace")

    def leaks(self) -> list[Path]:
        """What holds a piece of a POTCAR of all that stays: results, report, logs of rules and of Snakemake."""
        places = [self.folder / name for name in ("results", "logs", "scratch", ".snakemake")]
        files = [path for place in places for path in place.rglob("*") if path.is_file()]
        files += self.folder.parent.glob("snakemake.log")  # what Snakemake said, where it was started in the background
        return [path for path in files if MARKER.encode() in path.read_bytes() or path.name == "POTCAR"]


def vasp_run(
    folder: Path, step_s: float, crystals: dict[str, Structure] = CRYSTALS, faults: dict | None = None
) -> VaspRun:
    """Write structures, table, config and the machine."""
    elements = sorted({site.specie.symbol for crystal in crystals.values() for site in crystal})
    vasp = machine(folder / "machine", elements, faults, step_s=step_s)
    rows = []
    for n, (name, crystal) in enumerate(crystals.items()):
        crystal.to(str(folder / f"{name}.cif"))
        rows.append(f"{name},{name}.cif,{100 + n},{60 + n}")
    head = "material_id,structure,bulk_modulus_gpa,shear_modulus_gpa\n"
    (folder / "materials.csv").write_text(head + "\n".join(rows) + "\n")
    section = {"machine": {"binary": vasp.command, "polling_s": 0.1}}
    config = {"materials": str(folder / "materials.csv"), "dft": {"engine": "vasp", "vasp": section}}
    (folder / "vasp.yaml").write_text(yaml.safe_dump(config))
    (folder / "run").mkdir()
    return VaspRun(folder / "run", vasp, (ROOT / ".test/config/config.yaml", folder / "vasp.yaml"))


def undisturbed_densities(folder: Path, run: VaspRun) -> dict[str, Density]:
    """What the engine gives for the same files without any interruption."""
    shipped = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))["dft"]["vasp"]
    machine = shipped["machine"] | {"binary": run.vasp.command, "polling_s": 0.1}
    settings = engine_settings("vasp", shipped, machine)
    ledger = {LEDGER: str(folder / "undisturbed.jsonl"), STEP_TIME: "0"}
    densities = {}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (run.vasp.environment | ledger).items():
            patch.setenv(name, value)
        for name in CRYSTALS:
            out = folder / "undisturbed" / name
            resources = Resources(scratch=folder / "scratch" / name)
            run_material(name, folder / f"{name}.cif", None, "vasp", settings, out, resources)
            densities[name] = read_npz(out / "density.npz")
    return densities


def test_a_campaign_killed_at_random_moments_ends_with_the_same_densities(tmp_path):
    run, moments = vasp_run(tmp_path, STEP_S), random.Random(SEED)
    formulas = {name: parse_formula(crystal.reduced_formula) for name, crystal in CRYSTALS.items()}
    kills = []
    for _ in range(N_KILLS):
        process = run.start("--", TARGET)
        n_events = len(run.vasp.ledger) + moments.randint(8, 30)
        ended = process.poll
        wait_until(lambda n=n_events, e=ended: e() is not None or len(run.vasp.ledger) >= n, "the campaign to go on")
        assert process.poll() is None, run.said[-6000:]
        os.killpg(process.pid, signal.SIGKILL)  # which VASP, in a session of its own, does not get
        process.wait()
        kills.append(len(run.vasp.ledger))
    run.finish("--", TARGET)
    ledger = run.vasp.ledger
    assert not [line["pid"] for line in ledger if is_running(line["pid"])]
    for folder in {line["folder"] for line in ledger}:  # never two VASPs in one folder
        workers = [pid for pid, _ in groupby(line["pid"] for line in ledger if line["folder"] == folder)]
        assert len(workers) == len(set(workers))

    outcomes = pd.read_csv(run.folder / "results/dft_outcomes.csv", keep_default_na=False).set_index("material_id")
    assert outcomes["status"].to_dict() == dict.fromkeys(CRYSTALS, "converged")
    assert set(outcomes["corrections"]) == {""}
    for name, density in undisturbed_densities(tmp_path, run).items():
        found = read_npz(run.folder / f"results/dft/{name}/density.npz")
        for part in ("values", "promolecule", "lattice", "frac_coords"):
            np.testing.assert_array_equal(getattr(found, part), getattr(density, part))

    begun = [{line["formula"] for line in ledger[:n] if line["event"] == "start"} for n in kills]
    again = [{line["formula"] for line in ledger[n:] if line["event"] == "start"} for n in kills]
    assert all(len(old & new) <= 2 for old, new in zip(begun, again, strict=True))  # those on the two cores
    assert any(old & new for old, new in zip(begun, again, strict=True))
    for formula in formulas.values():
        steps = run.vasp.events("ionic", formula, "relax")
        assert len(steps) <= N_IONIC + len([1 for old, new in zip(begun, again, strict=True) if formula in old & new])
    assert not list((run.folder / "scratch").rglob("*.json"))
    assert not run.leaks()


def test_the_report_tells_the_corrections_and_no_licensed_data(tmp_path):
    """From structures through VASP, its free atoms and a fixed fault to the report; then each byte that stays."""
    crystals = {
        f"{cation}{anion}": Structure(FCC * 4.6, [cation, anion], [[0, 0, 0], [0.5, 0.5, 0.5]])
        for cation in ("Li", "Na", "K", "Mg", "Ca", "Sr")
        for anion in ("F", "O")
    }
    run = vasp_run(tmp_path, 0.0, crystals, {"MgO": ["zbrent-once"], "LiF": ["tet-once"]})
    config = yaml.safe_load((tmp_path / "vasp.yaml").read_text())
    config["dft"]["atomization_energy"] = "computed"
    (tmp_path / "vasp.yaml").write_text(yaml.safe_dump(config | SHORT))
    run.finish()

    outcomes = pd.read_csv(run.folder / "results/outcomes.csv", keep_default_na=False).set_index("material_id")
    assert set(outcomes["status"]) == {"converged"}
    assert "ISMEAR" in outcomes.loc["LiF", "protocol_changes"]
    materials = pd.read_csv(run.folder / "results/materials.csv")
    assert materials["atomization_energy_ev_per_atom"].notna().all()
    report = (run.folder / "results/report.html").read_text(encoding="utf-8")
    assert all(html.escape(outcomes.loc[name, "corrections"]) in report for name in ("MgO", "LiF"))
    assert not run.leaks()


def test_inputs_are_written_without_vasp_and_without_potcars(tmp_path, monkeypatch):
    run = vasp_run(tmp_path, 0.0)
    for name in run.vasp.environment:
        monkeypatch.delenv(name, raising=False)
    config = yaml.safe_load((tmp_path / "vasp.yaml").read_text())
    config["dft"]["vasp"]["machine"]["binary"] = "vasp_that_is_not_here"
    (tmp_path / "vasp.yaml").write_text(yaml.safe_dump(config))
    result = subprocess.run(run.command("--", "results/vasp_inputs"), cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    folder = run.folder / "results/vasp_inputs/magnesia"
    assert (folder / "static/POTCAR.spec").read_text().split() == ["Mg_pv", "O"]
    assert [Incar.from_file(folder / step / "INCAR")["ISMEAR"] for step in ("relax", "static")] == [0, -5]
    for name, crystal in CRYSTALS.items():
        poscar = Structure.from_file(run.folder / f"results/vasp_inputs/{name}/relax/POSCAR")
        assert poscar.composition == crystal.composition
        assert poscar.volume == pytest.approx(crystal.volume, rel=1e-6)
    assert not run.leaks()
