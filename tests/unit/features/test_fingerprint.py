from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from rho2prop.densities.crystal_description import CrystalDescription
from rho2prop.features.field_statistics import QUANTILES, quantiles
from rho2prop.features.fingerprint import fingerprint, statistics


def supercell(density, repeats):
    n_cells = int(np.prod(repeats))
    return replace(
        density,
        values=np.tile(density.values, repeats),
        lattice=density.lattice * np.array(repeats)[:, None],
        numbers=np.tile(density.numbers, n_cells),
        frac_coords=np.tile(density.frac_coords, (n_cells, 1)),
        n_electrons=density.n_electrons * n_cells,
    )


def same_crystal_otherwise_described(density):
    rotation = Rotation.random(rng=np.random.default_rng(3)).as_matrix()
    yield "1x1x2", supercell(density, (1, 1, 2))
    yield "2x2x2", supercell(density, (2, 2, 2))
    yield "origin", replace(density, values=np.roll(density.values, (3, 7, 11), axis=(0, 1, 2)))
    yield "rotation", replace(density, lattice=density.lattice @ rotation)
    axes = (2, 0, 1)
    yield "axes", replace(density, values=density.values.transpose(axes), lattice=density.lattice[list(axes)])
    inverted = np.roll(density.values[::-1], 1, axis=0)
    yield "reversed a", replace(density, values=inverted, lattice=density.lattice * np.array([[-1], [1], [1]]))


def on_grid(density):
    return statistics(CrystalDescription(density), "total", np.zeros(3))


def test_no_choice_of_cell_axes_or_origin_changes_a_value(density):
    reference = on_grid(density)
    for name, variant in same_crystal_otherwise_described(density):
        found = on_grid(variant)
        assert list(found) == list(reference)
        np.testing.assert_allclose(list(found.values()), list(reference.values()), rtol=1e-6, atol=1e-9, err_msg=name)


def test_it_tells_densities_apart(density):
    squeezed = replace(density, lattice=density.lattice * 0.97, values=density.values / 0.97**3)
    reference, found = fingerprint(density), fingerprint(squeezed)
    assert found["mean_rho"] == pytest.approx(reference["mean_rho"] / 0.97**3)
    assert found["anisotropy_bond_0"] == pytest.approx(reference["anisotropy_bond_0"])  # a scale has no direction
    changed = [name for name in reference if abs(found[name] - reference[name]) > 1e-3 * abs(reference[name])]
    assert len(changed) > len(reference) / 2


def test_homogeneous_gas_has_no_gradient_and_no_structure(density):
    gas = replace(density, values=np.full_like(density.values, density.n_electrons / density.volume_ang3))
    found = fingerprint(replace(gas, values=gas.values + 1e-9 * np.random.default_rng(0).normal(size=gas.values.shape)))
    assert found["log_rho_vq0.500"] == pytest.approx(np.log10(found["mean_rho"]), abs=1e-6)
    assert found["log_s_vq0.995"] == pytest.approx(-3.0)  # the floor of the scale
    assert found["thomas_fermi"] == pytest.approx(5 / 3 * np.log10(found["mean_rho"]), abs=1e-6)
    assert all(found[name] < -8.9 for name in found if name.startswith("power_"))


def test_histogram_shares_add_up_to_the_volume(density):
    found = fingerprint(density)
    assert sum(value for name, value in found.items() if name.startswith("hist_")) == pytest.approx(1.0)
    for kind in ("core", "bond", "interstice"):
        assert sum(found[f"anisotropy_{kind}_{i}"] for i in range(3)) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "field",
    [
        np.random.default_rng(0).standard_normal(5000),
        np.exp(5 * np.random.default_rng(1).standard_normal(5000)),
        np.repeat(np.random.default_rng(2).standard_normal(50), 100),
        np.full(5000, 0.3),
        np.arange(7.0),
    ],
    ids=["normal", "long tail", "ties", "constant", "few"],
)
def test_quantiles_are_those_of_a_whole_sort(field):
    rho = np.random.default_rng(3).uniform(0.1, 2.0, field.size)
    order = np.argsort(field, kind="stable")
    charge = np.cumsum(rho[order])
    by_volume = field[order][np.ceil(QUANTILES * field.size).astype(int) - 1]
    by_charge = field[order][np.searchsorted(charge, QUANTILES * charge[-1])]
    found = list(quantiles("x", field, rho).values())
    np.testing.assert_array_equal(found, np.concatenate([by_volume, by_charge]))
