import numpy as np
import pandas as pd
from standins.refusals import refused

from rho2prop.features.design_matrix import BlockData, Latents, fit_design, load_design, read_blocks

TRAIN = [f"m{i}" for i in range(30)]
OTHER = [f"m{i}" for i in range(30, 40)]


def make_blocks(garbage=False):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(5, 3, (40, 6)), columns=list("abcdef"), index=TRAIN + OTHER)
    table.loc[TRAIN, "c"] = 7.0  # constant in the training part only
    table.loc["m3", "a"] = np.nan
    table["d"] = np.nan
    latents = rng.normal(size=(40, 2, 4, 4, 4)) * np.arange(1, 3)[None, :, None, None, None] + 3
    latents[:, 0, 0, 0, 0] = 1.0  # dead voxel
    if garbage:
        table.loc[OTHER] = 1e6
        latents[30:] = -1e6
    return BlockData({"elemental_solids": table}, {"all": Latents(np.array(TRAIN + OTHER), latents)})


def fit(blocks, features="elemental_solids+latent_pca+latent", n_components=8):
    return fit_design(features.split("+"), blocks, "random", "0", TRAIN, n_components, seed=1)


def test_training_part_is_standardised_and_the_rest_is_not_seen():
    design = fit(make_blocks())
    matrix = design.apply(make_blocks(), "random", "0", TRAIN)
    assert design.columns["elemental_solids"] == ["a", "b", "e", "f"]  # neither constant nor empty in training
    assert matrix.column_blocks == ["elemental_solids"] * 4 + ["latent_pca"] * 8
    np.testing.assert_allclose(matrix.tabular.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(matrix.tabular[:, 1:4].std(axis=0), 1, atol=1e-6)
    assert matrix.tabular[3, 0] == 0.0  # the missing value became the training mean
    np.testing.assert_allclose(matrix.latent.mean(axis=(0, 2, 3, 4)), 0, atol=1e-5)

    garbage = fit(make_blocks(garbage=True))
    assert garbage.columns == design.columns
    for name, array in design.arrays.items():
        np.testing.assert_array_equal(garbage.arrays[name], array)


def test_principal_components_are_uncorrelated_and_ordered():
    scores = fit(make_blocks(), "latent_pca").apply(make_blocks(), "random", "0", TRAIN).tabular
    covariance = scores.T @ scores
    variances = np.diag(covariance)
    np.testing.assert_allclose(covariance, np.diag(variances), atol=1e-3 * variances[0])
    assert (np.diff(variances) <= 0).all()


def test_components_are_bounded_by_the_training_rows():
    assert fit(make_blocks(), "latent_pca", 512).arrays["latent_pca.components"].shape == (29, 128)


def test_save_load_apply_is_identity(tmp_path):
    design = fit(make_blocks())
    design.save(tmp_path)
    first = design.apply(make_blocks(), "random", "0", OTHER)
    second = load_design(tmp_path).apply(make_blocks(), "random", "0", OTHER)
    np.testing.assert_array_equal(first.tabular, second.tabular)
    np.testing.assert_array_equal(first.latent, second.latent)


def test_latents_of_the_fold_are_taken():
    latents = make_blocks().latents["all"]
    blocks = BlockData({}, {"random-0": latents, "random-1": Latents(latents.material_ids, latents.values * 2)})
    np.testing.assert_array_equal(blocks.latent("random", "1", ["m5"]), 2 * blocks.latent("random", "0", ["m5"]))
    with refused("formula-0"):
        blocks.latent("formula", "0", ["m5"])


def test_files_are_read_with_ids_as_text(tmp_path):
    (tmp_path / "elemental_solids.csv").write_text("material_id,x,y\nNA,1.5,\n007,2.5,0.1\n")
    np.savez(tmp_path / "all.npz", material_ids=np.array(["007"]), averaged=np.ones((1, 2, 2, 2, 2), np.float16))
    blocks = read_blocks({"elemental_solids": tmp_path / "elemental_solids.csv"}, {"all": tmp_path / "all.npz"})
    assert blocks.table("elemental_solids", ["007", "NA"])["x"].tolist() == [2.5, 1.5]
    assert np.isnan(blocks.table("elemental_solids", ["NA"])["y"].iloc[0])
    assert blocks.latent("random", "0", ["007"]).shape == (1, 2, 2, 2, 2)
    with refused(1, "'x1'", source="elemental_solids.csv"):
        blocks.table("elemental_solids", ["007", "x1"])
    (tmp_path / "all.npz").write_bytes(b"PK\x03\x04 torn")
    with refused(source="all.npz"):
        blocks.latent("random", "0", ["007"])


def test_infinite_features_are_named():
    blocks = BlockData({"elemental_solids": pd.DataFrame({"x": [1.0, np.inf]}, index=["a", "b"])})
    with refused("b", "x"):
        blocks.table("elemental_solids", ["a", "b"])


def test_rounding_noise_of_a_feature_does_not_reach_the_models():
    """Two descriptions of one crystal differ in the last digits; trees would split between them."""
    blocks = make_blocks()
    design = fit(blocks, "elemental_solids")
    noise = np.random.default_rng(1).uniform(-1e-11, 1e-11, blocks.tables["elemental_solids"].shape)
    noisy = BlockData({"elemental_solids": blocks.tables["elemental_solids"] * (1 + noise)})
    exact, moved = (design.apply(given, "random", "0", OTHER).tabular for given in (blocks, noisy))
    np.testing.assert_array_equal(moved, exact)
    assert not np.array_equal(noisy.table("elemental_solids", OTHER)["a"], blocks.table("elemental_solids", OTHER)["a"])


def test_a_row_that_was_cut_is_refused_and_gaps_in_the_tables_of_elements_are_not(tmp_path):
    columns = ["MagpieData mean Number", "MagpieData mean MeltingT", "MagpieData mean GSbandgap"]
    text = f"material_id,{','.join(columns)}\nHe,2.0,,0.0\nLi,3.0,453.69,0.0\n"
    (tmp_path / "magpie.csv").write_text(text)
    assert np.isnan(read_blocks({"magpie": tmp_path / "magpie.csv"}, {}).table("magpie", ["He"])[columns[1]].iloc[0])
    (tmp_path / "magpie.csv").write_text(text.removesuffix(",453.69,0.0\n"))
    with refused("Li", "MagpieData mean GSbandgap"):
        read_blocks({"magpie": tmp_path / "magpie.csv"}, {}).table("magpie", ["He", "Li"])
