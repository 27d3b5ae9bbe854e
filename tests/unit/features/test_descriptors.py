import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from standins.crystals import face_centred_cubic
from standins.descriptors import descriptor_tables

from rho2prop.crystals.symmetry import symmetry


@pytest.fixture(scope="module")
def rock_salt():
    return face_centred_cubic(5.64, "Na", "Cl")


def test_magpie_is_a_function_of_composition_alone(rock_salt):
    primitive = rock_salt.get_primitive_structure()
    features = descriptor_tables({"cell": rock_salt, "primitive": primitive}, {"magpie"})["magpie"]
    assert features.shape == (2, 132)
    np.testing.assert_allclose(features.loc["cell"], features.loc["primitive"], rtol=1e-12)
    assert features.loc["cell", "MagpieData mean Number"] == pytest.approx((11 + 17) / 2)


def test_cohesion_is_the_mean_over_the_elements_and_blank_without_a_measured_value(rock_salt):
    astatine_chloride = rock_salt.copy()
    astatine_chloride.replace_species({"Na": "At"})
    features = descriptor_tables({"NaCl": rock_salt, "AtCl": astatine_chloride}, {"cohesive_energy"})["cohesive_energy"]
    assert features.loc["NaCl"].item() == pytest.approx((1.113 + 1.40) / 2)  # Kittel, table 1 of chapter 3, in eV
    assert features.loc["AtCl"].isna().all()


def test_shares_of_the_elements_are_those_of_the_formula(rock_salt):
    water = Structure(Lattice.cubic(3), ["O", "H", "H"], [[0, 0, 0], [0.2, 0.2, 0], [-0.2, 0.2, 0]])
    features = descriptor_tables({"NaCl": rock_salt, "H2O": water}, {"composition"})["composition"]
    assert features.loc["H2O", ["H", "O"]].tolist() == pytest.approx([2 / 3, 1 / 3])
    np.testing.assert_allclose(features.sum(axis=1), 1)


def test_an_element_is_its_own_solid():
    aluminium = face_centred_cubic(4.0495, "Al")
    row = descriptor_tables({"Al": aluminium}, {"elemental_solids"})["elemental_solids"].loc["Al"]
    assert np.exp(row["log_bulk_modulus_mean"]) == pytest.approx(76, rel=0.05)  # measured, at room temperature
    assert np.exp(row["log_shear_modulus_mean"]) == pytest.approx(26, rel=0.05)
    assert row["log_volume_ratio"] == pytest.approx(0, abs=0.01)
    assert row["electronegativity_variance"] == 0
    # 3.39 eV in 16.6 Å³, and 1 eV/Å³ is 160.2 GPa
    expected_gpa = 3.39 / (4.0495**3 / 4) * 160.218
    assert np.exp(row["log_cohesive_energy_density"]) == pytest.approx(expected_gpa, rel=1e-4)


def test_element_means_are_by_atoms_over_the_known(rock_salt):
    features = descriptor_tables(
        {"cell": rock_salt, "primitive": rock_salt.get_primitive_structure()}, {"elemental_solids"}
    )["elemental_solids"]
    np.testing.assert_allclose(features.loc["cell"], features.loc["primitive"], rtol=1e-9)
    row = features.loc["cell"]
    assert row["cohesive_energy_ev_per_atom_mean"] == pytest.approx((1.113 + 1.40) / 2)
    assert np.exp(row["log_shear_modulus_mean"]) == pytest.approx(3.3)  # of sodium: chlorine has none
    assert row["shear_modulus_gpa_max"] == pytest.approx(3.3)
    assert row["electronegativity_variance"] == pytest.approx(((3.16 - 0.93) / 2) ** 2)


def test_structure_features_do_not_depend_on_the_cell(rock_salt):
    variants = {"cell": rock_salt, "primitive": rock_salt.get_primitive_structure(), "super": rock_salt * (1, 1, 2)}
    features = descriptor_tables(variants, {"structure"})["structure"]
    for name in ("primitive", "super"):
        np.testing.assert_allclose(features.loc[name], features.loc["cell"], rtol=1e-6)
    row = features.loc["cell"]
    assert row["nearest_distance_min_ang"] == pytest.approx(2.82)
    assert row["coordination_mean"] == 6
    assert row["space_group_number"] == 225
    assert row["volume_per_atom_ang3"] == pytest.approx(5.64**3 / 8)


def test_a_lone_atom_in_a_wide_cell_still_has_a_nearest_neighbour():
    gas = Structure(Lattice.cubic(12.0), ["He"], [[0, 0, 0]])
    row = descriptor_tables({"He": gas}, {"structure"})["structure"].loc["He"]
    assert row["nearest_distance_min_ang"] == pytest.approx(12.0)
    assert row["coordination_max"] == 0


def test_trigonal_and_hexagonal_are_told_apart():
    magnesium = Structure.from_spacegroup("P6_3/mmc", Lattice.hexagonal(3.2, 5.2), ["Mg"], [[1 / 3, 2 / 3, 1 / 4]])
    bismuth = Structure.from_spacegroup("R-3m", Lattice.hexagonal(4.55, 11.86), ["Bi"], [[0, 0, 0.234]])
    assert symmetry(magnesium).crystal_system == "hexagonal"
    assert symmetry(bismuth).crystal_system == "trigonal"
