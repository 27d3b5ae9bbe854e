"""Distance to the training set: near is near, far is far, and the percentiles are those of held-out materials."""

import numpy as np
import pandas as pd
import pytest
from standins.refusals import refused

from rho2prop.prediction.applicability import TrainingSpace, fit_training_space

COLUMNS = [f"f{i}" for i in range(8)]


def cloud(n, seed=0, shift=0.0):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((n, 3)) @ rng.standard_normal((3, 8)) + 0.1 * rng.standard_normal((n, 8)) + shift
    return pd.DataFrame(values * np.geomspace(1e-3, 1e3, 8) + 5, columns=COLUMNS, index=[f"m{i}" for i in range(n)])


@pytest.fixture(scope="module")
def space():
    training = cloud(400).iloc[:300].assign(constant=7.0)
    return fit_training_space(training, [f"A{i}" for i in range(300)], {"Mg", "O"})


def held_out():
    return cloud(400).iloc[300:].assign(constant=7.0)


def test_held_out_materials_of_the_same_kind_spread_evenly_over_the_percentiles(space):
    percentiles = [space.judge(row, {"Mg"}).percentile for _, row in held_out().iterrows()]
    assert np.mean(percentiles) == pytest.approx(50, abs=12)
    assert np.mean(np.array(percentiles) > 95) < 0.15
    assert min(percentiles) < 15
    assert max(percentiles) > 85


def test_a_material_outside_is_far_and_says_so(space):
    row = cloud(1, seed=5, shift=50.0).iloc[0]
    applicability = space.judge(row, {"Mg", "O"})
    assert applicability.is_far
    assert applicability.percentile == 100
    assert "very far" in applicability.text
    inside = space.judge(cloud(400).iloc[:300].mean(), {"Mg", "O"})
    assert not inside.is_far
    assert inside.percentile < 50
    assert inside.text.startswith("within the training set")


def test_an_element_that_was_never_seen_is_named(space):
    applicability = space.judge(held_out().iloc[0], {"Mg", "Pu"})
    assert applicability.is_far
    assert "Pu" in applicability.text
    assert "Mg," not in applicability.text


def test_the_nearest_material_of_a_training_material_is_itself(space):
    applicability = space.judge(cloud(400).iloc[17], {"O"})
    name, formula, distance = applicability.nearest[0]
    assert (name, formula) == ("m17", "A17")
    assert distance < 1e-4
    assert "fitted, not predicted" in applicability.text
    distances = [distance for *_, distance in applicability.nearest]
    assert distances == sorted(distances)
    assert len(distances) == 5


def test_scale_of_a_feature_does_not_matter(space):
    factors = pd.Series(np.geomspace(1e4, 1e-4, 8), index=COLUMNS)
    scaled = fit_training_space(cloud(400).iloc[:300] * factors, [f"A{i}" for i in range(300)], {"Mg"})
    row = held_out().iloc[3]
    assert scaled.judge(row[COLUMNS] * factors, {"Mg"}).percentile == space.judge(row, {"Mg"}).percentile


def test_unknown_features_count_as_the_training_mean(space):
    row = cloud(400).iloc[:300].mean()
    applicability = space.judge(row.mask(row.index == "f3"), {"Mg"})
    assert applicability.percentile == space.judge(row, {"Mg"}).percentile


def test_arrays_without_objects_carry_all_of_it(space, tmp_path):
    np.savez(tmp_path / "space.npz", **space.to_arrays())
    with np.load(tmp_path / "space.npz", allow_pickle=False) as arrays:
        again = TrainingSpace(**{name: arrays[name] for name in arrays.files})
    row = held_out().iloc[0]
    assert again.judge(row, {"Mg", "O"}) == space.judge(row, {"Mg", "O"})


def test_one_material_is_no_training_set():
    with refused(1):
        fit_training_space(cloud(1), ["A"], {"Mg"})
