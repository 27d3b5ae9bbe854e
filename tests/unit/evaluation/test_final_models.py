"""The models that predict are judged: every family covers unseen materials as stated, a bad fit is refused."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from standins.crystals import rock_salt
from standins.folds import SETTINGS
from standins.networks import cnn_section, graph_network_section
from standins.regressions import run

from rho2prop.core.targets import ATOMIZATION_ENERGY, TARGETS, spread_of
from rho2prop.crystals.elasticity import BULK, SHEAR
from rho2prop.evaluation.cross_validation import predict_fold
from rho2prop.evaluation.final_models import COLUMNS, judge_final_models, read_offered
from rho2prop.evaluation.intervals import calibrations
from rho2prop.features.crystal_graphs import crystal_graph
from rho2prop.features.design_matrix import BlockData, Latents
from rho2prop.materials.splits import draw_splits

pytestmark = pytest.mark.slow

COVERAGE, N_KNOWN, N_FEW, N_UNSEEN = 0.9, 1000, 400, 2000
NETWORK = dict(n_trials=2, max_epochs=16, patience=16, batch_size=32)
CNN = cnn_section(**NETWORK, channels=[4])
GRAPH = NETWORK | {"width": 8, "layers": 1, "max_epochs": 60, "patience": 60, "n_trials": 1}
FAMILIES = {
    "mean": ("none", {}),
    "lightgbm": ("magpie", SETTINGS["lightgbm"] | {"n_trials": 8, "learning_rate": [0.02, 0.05]}),
    "gaussian_process": ("magpie", SETTINGS["gaussian_process"]),
    "blend": ("magpie", SETTINGS["blend"]),
    "attention_cnn": ("magpie+latent", CNN),
    "multiscale_cnn": ("latent", CNN),
    "multiscale_cnn_single": ("latent", CNN),
    "graph_network": ("graph", graph_network_section(**GRAPH)),
}


def quantiles(n, rng):
    return norm.ppf((rng.permutation(n) + 0.5) / n)


@pytest.fixture(scope="module")
def world():
    """Materials whose moduli follow from their features up to 15 %; the labels of N_UNSEEN are kept back."""
    rng = np.random.default_rng(8)
    n = N_KNOWN + N_UNSEEN
    ids = [f"m{i:04d}" for i in range(n)]
    x = pd.DataFrame(rng.uniform(0, 1, (n, 3)), columns=list("abc"), index=ids)
    # Normal in each of these groups alike: what is tested is the procedure, not the luck of a few hundred draws.
    groups = N_FEW, N_KNOWN - N_FEW, N_UNSEEN
    noise = np.exp(0.15 * np.concatenate([np.stack([quantiles(m, rng) for _ in range(2)], axis=1) for m in groups]))
    materials = pd.DataFrame(
        {
            "material_id": ids,
            "role": "train",
            "formula": "NaCl",
            "chemical_system": [f"s{i // 2}" for i in range(n)],
            "volume_per_atom_ang3": 12.0,
            **dict.fromkeys(TARGETS, np.nan),
            BULK: np.exp(4 + x["a"]).to_numpy() * noise[:, 0],
            ATOMIZATION_ENERGY: 3 + x["b"].to_numpy() + 0.3 * np.log(noise[:, 1]) / 0.15,
        }
    )
    values = np.zeros((n, 2, 2, 2, 2), dtype=np.float32) + x.to_numpy()[:, :2, None, None, None]
    graph = crystal_graph(rock_salt().get_primitive_structure())
    graphs = {name: replace(graph, vectors=graph.vectors * np.float32(1 + 0.4 * x.loc[name, "a"])) for name in ids}
    blocks = BlockData({"magpie": x}, {"all": Latents(np.array(ids), values)}, graphs=graphs)
    return materials.iloc[:N_KNOWN], materials.iloc[N_KNOWN:], blocks


def splits_of(known):
    return draw_splits(known, ["chemical_system"], 4, 0.2, 3)


def fit_both(folder, world, model):
    """Folders of the final model and of the fold models."""
    known, _, blocks = world
    known = known.iloc[:N_FEW] if model in ("gaussian_process", "blend", "graph_network") else known  # slow ones
    splits = splits_of(known)
    features, settings = FAMILIES[model]
    for split in ("chemical_system", "all"):
        run(model, features, split, known, splits, blocks, settings, 8, folder / split, seed=1, threads=1)
    return folder / "all", folder / "chemical_system"


@pytest.mark.parametrize("model", FAMILIES)
def test_intervals_hold_the_stated_share_of_unseen_materials(tmp_path, world, model):
    final, folds = fit_both(tmp_path, world, model)
    _, unseen, blocks = world
    judged = judge_final_models([final], [folds], COVERAGE)
    assert list(judged.columns) == COLUMNS
    assert judged["is_offered"].all(), judged["reason"].tolist()
    predicted = predict_fold(final / "folds" / "final", blocks, unseen["material_id"].tolist(), with_spread=True)
    for (_, target), calibration in calibrations(folds, COVERAGE).items():
        truth = unseen[target].to_numpy()
        assert calibration.uses_spread == (model in ("gaussian_process", "blend"))
        spread = predicted[spread_of(target)].to_numpy() if calibration.uses_spread else None
        lower, upper = calibration.bounds(predicted[target].to_numpy(), COVERAGE, spread)
        assert 0.87 <= np.mean((lower <= truth) & (truth <= upper)) <= 0.93, target


def test_a_final_fit_that_ended_badly_is_not_offered_and_the_reason_is_given(tmp_path, world):
    known, _, blocks = world
    known = known.iloc[:N_FEW]
    splits = splits_of(known)
    table = blocks.tables["magpie"]
    shuffled = BlockData({"magpie": table.sample(frac=1, random_state=0).set_index(table.index)})
    features, settings = FAMILIES["lightgbm"]
    precise = known.assign(**{BULK: np.exp(4 + blocks.tables["magpie"].loc[known["material_id"], "a"].to_numpy())})
    run("lightgbm", features, "chemical_system", precise, splits, blocks, settings, 8, tmp_path / "folds", 1, 1)
    run("lightgbm", features, "all", precise, splits, shuffled, settings, 8, tmp_path / "all", 1, 1)
    judged = judge_final_models([tmp_path / "all"], [tmp_path / "folds"], COVERAGE).set_index("target")
    bulk = judged.loc[BULK]
    assert not bulk["is_offered"]
    assert bulk["mae"] > 3 * bulk["mae_folds"]
    assert bulk["coverage_found"] < 0.5
    assert f"{bulk['mae']:.3g}" in bulk["reason"]
    assert f"{bulk['n']} validation values" in bulk["reason"]


def test_validation_errors_are_of_models_that_have_not_seen_the_validation_part(tmp_path, world):
    """Labels that nothing explains: a model that had learned its validation part would know them all the same."""
    known, _, blocks = world
    known = known.iloc[:N_FEW]
    splits = splits_of(known)
    noise = np.exp(np.random.default_rng(0).standard_normal(N_FEW))
    for model in ("lightgbm", "gaussian_process", "blend", "mean"):
        features, settings = FAMILIES[model]
        materials = known.assign(**{BULK: 100 * noise, SHEAR: np.nan, ATOMIZATION_ENERGY: np.nan})
        out = tmp_path / model
        run(model, features, "all", materials, splits, blocks, settings, 8, out, seed=1, threads=1)
        rows = pd.read_csv(out / "validation.csv")
        expected = splits[(splits["split"] == "all") & (splits["part"] == "validation")]["material_id"]
        assert sorted(rows["material_id"]) == sorted(expected)
        agreement = np.corrcoef(np.log(rows["y_true"]), rows["y_pred"])[0, 1] if rows["y_pred"].std() else 0.0
        assert agreement < 0.4


def test_the_mean_of_good_trials_is_the_network_and_bad_trials_are_left_out(tmp_path, world):
    known, _, blocks = world
    known = known.iloc[:N_FEW]
    splits = splits_of(known)
    settings = CNN | {"n_trials": 4, "max_epochs": 5}
    run("attention_cnn", "magpie+latent", "all", known, splits, blocks, settings, 8, tmp_path / "all", 1, 1)
    record = json.loads((tmp_path / "all/folds/final/model.json").read_text())
    losses = np.array([trial["validation_loss"] for trial in record["trials"]])
    members = np.array([trial["is_member"] for trial in record["trials"]])
    assert len(record["members"]) == members.sum()
    assert (members == (losses <= 1.5 * losses.min())).all()
    assert record["validation_loss"] <= losses[members].mean() + 1e-9  # Jensen: never worse than its members on average


def test_nothing_is_offered_where_no_model_could_be_trained(tmp_path):
    judge_final_models([], [], COVERAGE).to_csv(tmp_path / "final_models.csv", index=False)
    assert read_offered(tmp_path / "final_models.csv") == set()
    one = {"model": "lightgbm", "features": "magpie", "target": BULK, "reason": ""}
    table = pd.DataFrame([one | {"is_offered": True}, one | {"target": SHEAR, "is_offered": False}], columns=COLUMNS)
    table.to_csv(tmp_path / "final_models.csv", index=False)
    assert read_offered(tmp_path / "final_models.csv") == {("lightgbm", "magpie", BULK)}
