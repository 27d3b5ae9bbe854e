from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from standins.networks import cnn_section
from standins.refusals import refused
from standins.regressions import run
from standins.training import train_on

from rho2prop.autoencoder.encoding import encode, encode_averaged, read_latents, turned, write_latents
from rho2prop.autoencoder.request import TrainingSettings
from rho2prop.autoencoder.training import load_autoencoder
from rho2prop.densities.crystal_description import CrystalDescription
from rho2prop.densities.density import Density, check, read_npz, write_npz
from rho2prop.densities.grids import Grid, to_grid
from rho2prop.densities.transformations import ROTATIONS, rolled, rotated, shifted, supercell
from rho2prop.evaluation import invariance
from rho2prop.evaluation.cross_validation import predict_fold
from rho2prop.evaluation.invariance import REFERENCE, evaluate, sample, summarise, transformations
from rho2prop.features.design_matrix import BlockData, Latents
from rho2prop.features.fingerprint import fingerprint, statistics

pytestmark = pytest.mark.slow

GRID = Grid("window", 16, 0.45)
SETTINGS = TrainingSettings(
    network="fast", latent_size=4, dropout=0.0, orientations_per_epoch=1, batch_size=2,
    learning_rate=1e-3, max_epochs=1, patience=10, precision="fp32",
    grid_precision="fp32", devices=1, nodes=1, threads=1,
)  # fmt: skip
BOOSTING = {"n_trials": 1, "max_rounds": 40, "patience": 40, "learning_rate": [0.2, 0.3], "max_bin": 31}
NETWORK = cnn_section(n_trials=1, max_epochs=2, patience=2, batch_size=4, channels=[8])
BULK = "bulk_modulus_gpa"


def descriptions(density):
    yield from (rotated(density, rotation) for rotation in ROTATIONS)
    yield rolled(density, (3, -5, 40))
    yield shifted(density, np.array([0.123, 0.7, -0.3]))
    yield supercell(density, (2, 1, 3))


def test_the_rotations_are_the_24_proper_ones_of_a_cube():
    assert len({rotation.tobytes() for rotation in ROTATIONS}) == 24
    np.testing.assert_array_equal(ROTATIONS[0], np.eye(3))
    for rotation in ROTATIONS:
        np.testing.assert_array_equal(rotation @ rotation.T, np.eye(3))
        assert np.linalg.det(rotation) == pytest.approx(1.0)


def at_first_atom(density):
    return to_grid(shifted(density, -density.frac_coords[0]), Grid("window", 9, 0.3))[4, 4, 4]


def shortest_distances_ang(density):
    between = density.frac_coords[0] - density.frac_coords[-1]
    return sorted(np.linalg.norm((between + np.array(n) - 3) @ density.lattice) for n in np.ndindex(7, 7, 7))[:3]


def test_every_description_is_the_same_crystal(density):
    """Sound, same electrons per volume, atoms at the same distances, the same density at each atom."""
    expected = at_first_atom(density)
    for one in descriptions(density):
        check(one, "description")
        assert one.n_electrons / one.volume_ang3 == pytest.approx(density.n_electrons / density.volume_ang3)
        assert at_first_atom(one) == pytest.approx(expected, rel=2e-3)
        if len(one.numbers) == 2:
            np.testing.assert_allclose(shortest_distances_ang(one), shortest_distances_ang(density), rtol=1e-9)


@pytest.mark.parametrize("number", range(24))
def test_a_turned_crystal_has_the_turnedto_grid(density, number):
    rotation = ROTATIONS[number]
    window = to_grid(density, GRID)
    axis = (np.arange(16) - 7.5) * 0.45
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij")).reshape(3, -1)
    where = np.rint((rotation.T @ points) / 0.45 + 7.5).astype(int)
    expected = window[tuple(where)].reshape(window.shape)
    np.testing.assert_allclose(to_grid(rotated(density, rotation), GRID), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(turned(window, rotation), expected)


def test_a_shift_by_grid_points_is_a_roll(density):
    points = (2, 5, 9)
    found = shifted(density, np.array(points) / density.values.shape)
    expected = rolled(density, points)
    np.testing.assert_allclose(found.values, expected.values, atol=1e-6)
    np.testing.assert_allclose(found.frac_coords, expected.frac_coords, atol=1e-12)


@pytest.mark.parametrize("field", ["total", "deformation"])
def test_a_rough_density_has_the_same_fingerprint_wherever_its_grid_starts(density, field):
    """Rounding of stored values reaches the shortest waves of the grid, which odd shifts turn."""
    rng = np.random.default_rng(5)
    noise = 1 + 1e-3 * rng.uniform(-1, 1, density.values.shape)
    rough = replace(density, values=density.values * noise, promolecule=(density.values + density.values.mean()) / 2)
    expected = pd.Series(fingerprint(rough, field))
    for one in (rolled(rough, (3, 5, 7)), rotated(rough, ROTATIONS[9]), supercell(rough, (2, 1, 1))):
        np.testing.assert_allclose(pd.Series(fingerprint(one, field)), expected, rtol=1e-6, atol=1e-9)


def test_centres_move_with_the_crystal_and_ignore_supercells(density):
    coords = np.vstack([density.frac_coords, [[0.3, 0, 0], [0, 0.4, 0]]])
    crystal = replace(density, numbers=np.array([8, 8, 12, 3]), frac_coords=coords)
    np.testing.assert_allclose(
        CrystalDescription(crystal).origins, [[0.3, 0, 0]]
    )  # Mg and Li are equally rare, Mg is heavier
    np.testing.assert_allclose(CrystalDescription(rolled(crystal, (2, 0, 0))).origins, [[0.4, 0, 0]])
    repeated = CrystalDescription(supercell(crystal, (2, 2, 1))).origins
    assert repeated.shape == (1, 3)
    np.testing.assert_allclose((repeated * [2, 2, 1]) % 1, [[0.3, 0, 0]], atol=1e-9)


def test_distinct_centres_share_what_symmetry_makes_equal():
    """Four equal atoms of a face-centred cubic cell are one centre; two kinds of sites are two."""
    sites = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    values = np.full((8, 8, 8), 4 / 64.0)
    cubic = Density(values, 4.0 * np.eye(3), np.full(4, 29), sites, 4.0, "valence", "test 1.0")
    coords, shares = CrystalDescription(cubic).distinct_origins
    assert coords.shape == (1, 3)
    np.testing.assert_allclose(shares, [1.0])
    layers = np.array([[0, 0, 0], [0.5, 0.5, 0.3], [0.5, 0.5, 0.7]])
    layered = replace(cubic, lattice=np.diag([4.0, 4.0, 9.0]), frac_coords=layers, numbers=np.full(3, 29))
    coords, shares = CrystalDescription(supercell(layered, (1, 2, 1))).distinct_origins
    assert coords.shape == (2, 3)
    np.testing.assert_allclose(shares, [1 / 3, 2 / 3])


def test_averaged_latents_do_not_depend_on_the_description(density):
    torch.manual_seed(0)
    model = torch.nn.Module()
    model.encoder = torch.nn.Sequential(torch.nn.Conv3d(1, 4, 4, stride=4), torch.nn.ReLU())
    expected = encode_averaged(model, CrystalDescription(density), GRID)
    assert expected.shape == (4, 4, 4, 4)
    assert np.abs(encode(model, density, GRID) - expected).max() > 0.01 * np.abs(expected).max()
    for one in (rotated(density, ROTATIONS[5]), rolled(density, (3, 4, 5)), supercell(density, (1, 1, 2))):
        np.testing.assert_allclose(
            encode_averaged(model, CrystalDescription(one), GRID), expected, rtol=1e-4, atol=1e-5
        )
    padded = replace(GRID, kind="padded")
    np.testing.assert_array_equal(
        encode_averaged(model, CrystalDescription(density), padded), encode(model, density, padded)
    )


def test_latents_round_trip(tmp_path):
    latents, averaged = np.random.default_rng(0).normal(size=(2, 2, 16, 4, 4, 4)).astype(np.float16)
    write_latents(tmp_path / "l.npz", ["a", "b"], latents, averaged)
    found = read_latents(tmp_path / "l.npz")
    assert found["material_ids"].tolist() == ["a", "b"]
    np.testing.assert_array_equal(found["latents"], latents)
    np.testing.assert_array_equal(found["averaged"], averaged)


def statistics_on_its_grid(density):
    return statistics(CrystalDescription(density), "total", np.zeros(3))


def test_the_fingerprint_does_not_feel_where_the_grid_lies(density):
    """Moved by fractions of a grid point the statistics of the grid change a little, the fingerprint does not."""
    moved = shifted(density, np.array([0.0217, 0.013, 0.022]))
    on_grid, centred = (
        max(abs(make(moved)[name] - value) for name, value in make(density).items())
        for make in (statistics_on_its_grid, fingerprint)
    )
    assert centred < 1e-3
    assert centred < 0.05 * on_grid
    for one in (rotated(density, ROTATIONS[9]), supercell(density, (2, 1, 1))):
        found, expected = fingerprint(one), fingerprint(density)
        assert max(abs(found[name] - value) for name, value in expected.items()) < 1e-6


def test_the_sample_is_drawn_once_and_does_not_depend_on_the_order():
    ids = [f"m{n}" for n in range(30)]
    assert sample(ids, 5, 1) == sample(ids[::-1], 5, 1)
    assert len(set(sample(ids, 5, 1))) == 5
    assert sample(ids, 5, 1) != sample(ids, 5, 2)
    assert sample(ids[:3], 5, 1) == ids[:3]


def lopsided_density():
    """A few plane waves in a triclinic cell, different along each axis and direction."""
    x, y, z = (2 * np.pi * axis for axis in np.meshgrid(*[np.arange(n) / n for n in (10, 12, 14)], indexing="ij"))
    values = np.exp(np.cos(x) + 0.7 * np.cos(y - 1.0) + 0.5 * np.sin(z + x) + 0.3 * np.cos(2 * z))
    lattice = np.array([[3.2, 0.1, 0.0], [-0.9, 3.7, 0.2], [0.4, 0.6, 4.1]])
    values *= 8.0 / (values.mean() * np.linalg.det(lattice))
    coords = np.array([[0.0, 0.16, 0.3], [0.5, 0.6, 0.8]])
    return Density(values, lattice, np.array([3, 5]), coords, 8.0, "valence", "test 1.0")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Sixteen squeezed crystals, an autoencoder and three final models on them."""
    folder = tmp_path_factory.mktemp("invariance")
    base, densities, paths = lopsided_density(), {}, {}
    for n, scale in enumerate(np.linspace(0.8, 1.1, 16)):
        squeezed = replace(base, values=base.values / scale**3, lattice=base.lattice * scale)
        densities[f"m{n}"], paths[f"m{n}"] = squeezed, folder / f"m{n}.npz"
        write_npz(squeezed, paths[f"m{n}"])
    ids = list(densities)
    split = dict.fromkeys(ids, "train") | {"m3": "validation", "m7": "test"}
    train_on(list(paths.items()), split, SETTINGS, GRID, folder / "autoencoder", seed=0)
    model, _ = load_autoencoder(folder / "autoencoder")
    tables = {"fingerprint": pd.DataFrame([fingerprint(one) for one in densities.values()], index=ids)}
    latents = {
        "all": Latents(
            np.array(ids),
            np.stack([encode_averaged(model, CrystalDescription(one), GRID) for one in densities.values()]),
        )
    }
    materials = pd.DataFrame(
        {"material_id": ids, "volume_per_atom_ang3": [d.volume_ang3 / 2 for d in densities.values()]}
    )
    for target in ("shear_modulus_gpa", "youngs_modulus_gpa", "atomization_energy_ev_per_atom", "debye_temperature_k"):
        materials[target] = np.nan
    materials[BULK] = np.linspace(200, 50, 16)
    splits = pd.DataFrame(
        {"split": "all", "fold": "final", "material_id": ids, "part": ["train", "train", "train", "validation"] * 4}
    )
    settings_of = {"lightgbm": BOOSTING, "attention_cnn": NETWORK}
    for name, features in (("lightgbm", "fingerprint"), ("lightgbm", "latent_pca"), ("attention_cnn", "latent")):
        out = folder / "regression" / name / features / "all"
        blocks, settings = BlockData(tables, latents), settings_of[name]
        run(name, features, "all", materials, splits, blocks, settings, 4, out, seed=0, threads=1)
    return folder, paths


def test_predictions_for_all_descriptions_of_a_crystal(trained):
    folder, paths = trained
    regressions = sorted((folder / "regression").glob("*/*/all"))
    table = evaluate(regressions, folder / "autoencoder", {"m5": paths["m5"]}, seed=1)
    counts = table.groupby(["features", "kind"]).size()
    for key in ("fingerprint", "latent", "latent_pca"):
        assert counts[key].to_dict() == {"": 1, "rotation": 23, "shift": 6, "supercell": 2}
    reference = table[table["transformation"] == REFERENCE]
    assert (reference["relative_change"] == 0).all()
    assert (reference["value"] > 0).all()

    found = summarise(table).set_index(["features", "kind"])["largest"]
    assert found.max() < 0.005
    exact = table[table["transformation"].str.contains("points|rotation|supercell")]
    exact = exact[exact["features"] == "fingerprint"]
    assert exact["relative_change"].abs().max() < 1e-6


def test_values_are_those_of_the_model_for_the_described_crystal(trained, monkeypatch):
    """Not a repeated reference: with latents that do turn, the prediction for a rotated crystal, once more by hand."""
    monkeypatch.setattr(
        invariance, "encode_averaged", lambda model, crystal, grid: encode(model, crystal.density, grid)
    )
    folder, paths = trained
    regression = folder / "regression/attention_cnn/latent/all"
    table = evaluate([regression], folder / "autoencoder", {"m5": paths["m5"]}, seed=1)
    description = next(one for one in transformations(read_npz(paths["m5"]), 0) if one.name == "rotation 7")
    model, _ = load_autoencoder(folder / "autoencoder")
    latents = {"all": Latents(np.array(["x"]), encode(model, description.density, GRID)[None])}
    expected = predict_fold(regression / "folds/final", BlockData({}, latents), ["x"])[BULK].iloc[0]
    row = table[table["transformation"] == "rotation 7"].iloc[0]
    assert row["value"] == pytest.approx(expected, rel=1e-6)
    reference = table[table["transformation"] == REFERENCE].iloc[0]
    assert row["relative_change"] == pytest.approx(expected / reference["value"] - 1, rel=1e-4)


def test_a_folder_without_a_final_model_is_named(trained, tmp_path):
    folder, paths = trained
    (tmp_path / "lightgbm/magpie/all").mkdir(parents=True)
    with refused("lightgbm"):
        evaluate([tmp_path / "lightgbm/magpie/all"], folder / "autoencoder", paths, seed=1)
