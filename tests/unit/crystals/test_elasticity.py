import numpy as np
import pandas as pd
import pytest

from rho2prop.core.targets import spread_of
from rho2prop.crystals.elasticity import (
    debye_temperature_k,
    derive_from_kg,
    mean_atomic_mass_u,
    poisson_ratio,
    youngs_modulus_gpa,
)


def test_young_agrees_with_poisson():
    k, g = np.array([76.0, 442.0, 160.0]), np.array([26.0, 536.0, 130.0])
    assert youngs_modulus_gpa(k, g) == pytest.approx(3 * k * (1 - 2 * poisson_ratio(k, g)))
    assert youngs_modulus_gpa(k, g) == pytest.approx(2 * g * (1 + poisson_ratio(k, g)))


# Nearly isotropic crystals: there the Hill average is exact (in copper it lies 2 % too high).
@pytest.mark.parametrize(
    ("k_gpa", "g_gpa", "volume_ang3", "formula", "debye_k", "tolerance_k"),
    [
        (79.4, 29.3, 16.4, "Al", 430.0, 6.0),
        (443.0, 535.0, 5.67, "C", 2240.0, 20.0),
        (314.2, 163.4, 15.78, "W", 384.0, 3.0),
    ],
)
def test_debye_temperature_of_simple_crystals(k_gpa, g_gpa, volume_ang3, formula, debye_k, tolerance_k):
    result = debye_temperature_k(k_gpa, g_gpa, volume_ang3, mean_atomic_mass_u(formula))
    assert result == pytest.approx(debye_k, abs=tolerance_k)


def test_debye_temperature_scales_with_the_square_root_of_stiffness_and_mass():
    reference = debye_temperature_k(100.0, 50.0, 15.0, 30.0)
    assert debye_temperature_k(400.0, 200.0, 15.0, 30.0) == pytest.approx(2 * reference)
    assert debye_temperature_k(100.0, 50.0, 15.0, 120.0) == pytest.approx(reference / 2)


def test_spreads_of_young_and_debye_follow_from_those_of_k_and_g():
    table = pd.DataFrame({"bulk_modulus_gpa": [100.0, 60.0], "shear_modulus_gpa": [40.0, 0.0]}, index=["a", "b"])
    materials = pd.DataFrame({"material_id": ["a", "b"], "formula": "MgO", "volume_per_atom_ang3": 10.0})
    spreads = {spread_of("bulk_modulus_gpa"): 0.03, spread_of("shear_modulus_gpa"): 0.04}
    found = derive_from_kg(table.assign(**spreads), materials)
    young, debye = (found[spread_of(name)] for name in ("youngs_modulus_gpa", "debye_temperature_k"))
    k, g = 100.0, 40.0  # d ln E / d ln K = G/(3K+G), d ln E / d ln G = 3K/(3K+G)
    assert young["a"] == pytest.approx(np.hypot(0.03 * g, 0.04 * 3 * k) / (3 * k + g), rel=1e-3)
    assert 0.018 < debye["a"] < 0.021  # Θ goes nearly as the root of G
    assert young["b"] == 0.0
    assert list(derive_from_kg(table, materials)) == ["youngs_modulus_gpa", "debye_temperature_k"]


def test_moduli_below_zero_count_as_zero():
    assert youngs_modulus_gpa([-5.0, 0.0, 100.0], [10.0, 0.0, -1.0]).tolist() == [0.0, 0.0, 0.0]
    assert debye_temperature_k([-5.0, 100.0], [0.0, -1.0], 15.0, 30.0).tolist() == [0.0, 0.0]


def test_derived_properties_use_the_right_row():
    materials = pd.DataFrame({"material_id": ["b", "a"], "formula": ["C", "Al"], "volume_per_atom_ang3": [5.67, 16.4]})
    columns = {"bulk_modulus_gpa": [79.4, 443.0], "shear_modulus_gpa": [29.3, 535.0]}
    derived = derive_from_kg(pd.DataFrame(columns, index=["a", "b"]), materials)
    assert derived["debye_temperature_k"].tolist() == pytest.approx([430, 2240], abs=20)
    assert derived.loc["a", "youngs_modulus_gpa"] == pytest.approx(9 * 79.4 * 29.3 / (3 * 79.4 + 29.3))
    assert not len(derive_from_kg(pd.DataFrame({"bulk_modulus_gpa": [1.0]}, index=["a"]), materials).columns)
