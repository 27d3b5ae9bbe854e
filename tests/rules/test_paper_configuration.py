"""config/latentmatfusion.yaml: accepted as it is, and run with tiny sizes from densities to scores."""

import json
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import yaml
from standins.bundle_run import made_density
from standins.rule_run import ROOT, snakemake

from rho2prop.autoencoder.encoding import read_latents
from rho2prop.crystals.structures import structure_from_density
from rho2prop.densities.density import write_npz

PAPER = "config/latentmatfusion.yaml"
VALENCES = {3: 1, 5: 3, 8: 6, 11: 1, 12: 2, 13: 3}  # electrons by atomic number
PARTS = ["train"] * 9 + ["validation"] * 3 + ["test"] * 3
TINY = {
    "dft": {"engine": "files", "files": {"machine": {"materials_per_job": 15}}},
    "grid": {"size": 32},
    "autoencoder": {"max_epochs": 1, "orientations_per_epoch": 2, "precision": "fp32"},
    "evaluation": {
        "n_folds": 3,
        "validation_fraction": 0.25,
        "regressions": {"mean": [], "lightgbm": ["magpie_latent_pca"], "attention_cnn": ["magpie_latent"]},
    },
    "lightgbm": {"n_trials": 1, "max_rounds": 20},
    "attention_cnn": {"n_trials": 1, "max_epochs": 1, "stem": 4, "channels": [4, 8, 8], "tabular_widths": [8, 4]},
    "learning_curve": {"models": []},
}


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    """A table of 15 crystals with stored densities and the parts of a split."""
    folder = tmp_path_factory.mktemp("paper")
    rows = ["material_id,structure,density,bulk_modulus_gpa,split"]
    for i, (pair, part) in enumerate(zip(combinations(VALENCES, 2), PARTS, strict=True)):
        density = made_density(pair, electrons=float(sum(VALENCES[number] for number in pair)))
        write_npz(density, folder / f"m{i:02d}.npz")
        structure_from_density(density).to(str(folder / f"m{i:02d}.vasp"), fmt="poscar")
        rows.append(f"m{i:02d},m{i:02d}.vasp,m{i:02d}.npz,{50 + 7 * i},{part}")
    (folder / "materials.csv").write_text("\n".join([*rows, ""]))
    return folder


def options_of(folder, settings):
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({"materials": str(folder / "materials.csv")} | settings))
    return "--configfile", PAPER, str(path)


def test_as_it_is_it_plans_a_whole_run_with_vasp(paper):
    result = snakemake(paper / "planned", "--dry-run", *options_of(paper, {}))
    assert result.returncode == 0, result.stdout[-3000:]
    jobs = {words[0]: words[1] for words in map(str.split, result.stdout.splitlines()) if len(words) == 2}
    assert jobs["run_dft"] == "15"
    assert (jobs["fit_network"], jobs["fit_regression"]) == ("7", "9")  # two splits each; two final ones; the mean


def test_with_tiny_sizes_it_runs_from_densities_to_scores_on_its_own_split(paper):
    run = paper / "run"
    result = snakemake(run, *options_of(paper, TINY), "--", "results/metrics.csv")
    assert result.returncode == 0, result.stdout[-5000:]
    latents = read_latents(run / "results/latents/all.npz")
    assert latents["averaged"].shape == (15, 16, 16, 16, 16)
    metrics = pd.read_csv(run / "results/metrics.csv", dtype={"fold": str})
    folds = metrics.groupby(["model", "split"])["fold"].apply(list).to_dict()
    assert folds == {
        (model, split): names
        for model in ("attention_cnn", "lightgbm")
        for split, names in (("given", ["0"]), ("random", ["0", "1", "2"]))
    }
    assert np.isfinite(metrics[["mae", "rmse"]]).all(axis=None)
    of_network = "results/regression/attention_cnn/magpie_latent/given"
    predictions = pd.read_csv(run / of_network / "predictions.csv", dtype=str)
    assert list(predictions["material_id"]) == [f"m{i:02d}" for i, part in enumerate(PARTS) if part == "test"]
    (member,) = json.loads((run / of_network / "folds/0/model.json").read_text())["members"]
    configured = yaml.safe_load((ROOT / PAPER).read_text(encoding="utf-8"))["attention_cnn"]
    assert member["latent_size"] == 16
    assert member["head_width"] in configured["head_widths"]
    for name in ("blocks_per_stage", "tabular_dropout"):
        assert member[name] == configured[name]
    for name in ("stem", "channels", "tabular_widths"):
        assert member[name] == TINY["attention_cnn"][name]
