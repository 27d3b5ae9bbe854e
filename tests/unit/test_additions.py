"""A block and a model of one's own: one function, one class, two lines; rules, checks, report and bundle have them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from standins.bundle_run import CONFIG, made_density, write_results
from standins.report_run import CONFIG as REPORTED
from standins.report_run import Page, write_run
from standins.tables import write_table

from rho2prop.evaluation.config_check import problems
from rho2prop.features import registry as features
from rho2prop.models import registry as models
from rho2prop.prediction.bundle.reader import load_bundle
from rho2prop.prediction.bundle.writer import write_bundle
from rho2prop.report.render import render

ROOT = Path(__file__).parents[2]
ADDITIONS = """
import json
import numpy as np
from rho2prop.features.registry import BLOCKS, STRUCTURE, Block
from rho2prop.models.registry import MODELS, ModelSpec


def sizes_row(crystal):
    return {"n_sites": float(len(crystal.structure)), "volume_ang3": crystal.structure.volume}


class Median:
    def fit(self, data, fitting):
        self.medians = data.train_labels.median().to_dict()
        fitting.advance(len(data.targets))
        return self.predict(data.validation)

    def predict(self, matrix):
        return {target: np.full(len(matrix.tabular), value) for target, value in self.medians.items()}

    def save(self, folder):
        (folder / "median.json").write_text(json.dumps(self.medians))

    @classmethod
    def load(cls, folder, targets):
        median = cls()
        median.medians = json.loads((folder / "median.json").read_text())
        return median


BLOCKS["cell_sizes"] = Block("cell_sizes", STRUCTURE, "additions:sizes_row")
MODELS["median"] = ModelSpec("median", "Median", "additions:Median", ("table",))
"""
pytestmark = pytest.mark.slow  # whole rules, a report, a bundle
CHOICE = {"model": "median", "features": "mine"}
CHANGES = {
    "feature_sets": {"mine": ["magpie", "cell_sizes"]},
    "predict": [CHOICE],
    "invariance": {"n_materials": 3, "models": [CHOICE]},
    "learning_curve": {"sizes": [50], "models": [CHOICE]},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """On the path: the module, and what Python imports at its start, which imports the module."""
    folder = tmp_path_factory.mktemp("additions")
    (folder / "additions.py").write_text(ADDITIONS)
    (folder / "sitecustomize.py").write_text("import additions\n")
    return folder


@pytest.fixture
def added(folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    import additions  # noqa: F401

    yield
    del features.BLOCKS["cell_sizes"], models.MODELS["median"], sys.modules["additions"]


def configuration(**changes) -> dict:
    merged = CONFIG | CHANGES | {"feature_sets": CONFIG["feature_sets"] | CHANGES["feature_sets"]} | changes
    merged["evaluation"] = CONFIG["evaluation"] | {"regressions": {"mean": ["none"], "median": ["mine"]}}
    return merged


def test_the_rules_make_the_block_and_fit_the_model(folder, tmp_path):
    config = CHANGES | {"materials": str(write_table(tmp_path, 60))}
    config["evaluation"] = {"splits": ["random"], "regressions": {"median": ["mine"]}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/local", "--nocolor", "--dry-run"]
    command += ["--quiet", "host", "--directory", str(tmp_path / "run"), "--configfile", str(tmp_path / "config.yaml")]
    environment = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    result = subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    outputs = {name.strip() for line in result.stdout.splitlines() if "output:" in line
               for name in line.partition("output:")[2].split(",")}  # fmt: skip
    assert {"results/features/cell_sizes.csv", "results/features/magpie.csv"} <= outputs
    assert {"results/regression/median/mine/random", "results/regression/median/mine/all"} <= outputs
    assert "results/importance/median/mine/random.csv" in outputs


def test_the_checks_of_the_configuration_know_both(added):
    assert problems(configuration()) == []
    wrong = configuration(feature_sets=CONFIG["feature_sets"] | {"mine": ["cell_size"]})
    assert "Did you mean 'cell_sizes'?" in problems(wrong)[0].fix
    latent = configuration(predict=[{"model": "median", "features": "latent"}])
    assert "Choose among magpie, " in problems(latent)[0].fix
    assert "cell_sizes" in problems(latent)[0].fix


def test_the_report_names_both(added, tmp_path):
    inputs = write_run(tmp_path)
    for path in (inputs["metrics"], inputs["importance"]):
        text = path.read_text().replace("magpie_latent_pca", "mine").replace(",latent_pca,", ",cell_sizes,")
        path.write_text(text.replace("lightgbm", "median"))
    sets = REPORTED["feature_sets"] | CHANGES["feature_sets"]
    render(inputs, REPORTED | {"feature_sets": sets, "predict": [CHOICE]}, tmp_path / "report.html")
    rows = Page((tmp_path / "report.html").read_text(encoding="utf-8")).rows("properties")
    assert ["mine", "mine", "MAGPIE + cell sizes", "no"] in rows
    assert any(row[:2] == ["Median", "mine"] for row in rows)


def test_a_bundle_holds_both_and_predicts(added, tmp_path):
    config = configuration()
    write_bundle(write_results(tmp_path / "run", config), config, tmp_path / "models")
    bundle = load_bundle(tmp_path / "models")
    assert bundle.manifest["regressors"][0]["blocks"] == ["magpie", "cell_sizes"]
    found = bundle.predict(made_density(), "MgO")
    assert found["K"].model == "median"
    median = float((tmp_path / "models/regressors/median/mine/median.json").read_text().split()[1].strip(",}"))
    assert found["K"].value == pytest.approx(median)
    assert np.isfinite([found["K"].lower, found["K"].upper]).all()
