"""One description of a crystal: what features share is what each would compute alone, and no more is computed."""

from dataclasses import replace

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from standins.crystals import face_centred_cubic
from standins.densities import gaussian_density
from standins.refusals import refused

from rho2prop.crystals import symmetry
from rho2prop.densities import crystal_description
from rho2prop.densities.crystal_description import CrystalDescription
from rho2prop.densities.density import Density
from rho2prop.densities.field_names import FIELDS
from rho2prop.densities.fourier import half_spectrum
from rho2prop.densities.transformations import shifted
from rho2prop.features.description import describe

FINGERPRINTS = ("fingerprint", "promolecule_fingerprint", "deformation_fingerprint", "atom_position_fingerprint")
BLOCKS = ("magpie", "elemental_solids", "structure", "spring_network", *FINGERPRINTS)


@pytest.fixture
def density():
    """Two equal atoms at places that no symmetry maps onto each other, so that there are two origins."""
    density = gaussian_density()
    coords = np.array([[0.1, 0.2, 0.3], [0.6, 0.55, 0.8], [0.5, 0.1, 0.1], [0.4, 0.7, 0.2], [0.9, 0.4, 0.6]])
    promolecule = 0.7 * density.values + 0.3 * np.roll(density.values, (1, 2, 1), axis=(0, 1, 2))
    return replace(density, numbers=np.array([8, 3, 3, 8, 8]), frac_coords=coords, promolecule=promolecule)


def test_shared_and_separate_features_are_the_same_numbers(density):
    crystal = CrystalDescription(density)
    assert len(crystal.distinct_origins[0]) == 2
    shared = describe(crystal, "x", set(BLOCKS))
    assert set(shared) == set(BLOCKS)
    for block in reversed(BLOCKS):
        alone = describe(CrystalDescription(density), "x", {block})[block]
        np.testing.assert_array_equal(shared[block], alone, err_msg=block)


def test_each_part_is_computed_once(density, monkeypatch):
    calls = []

    def counted(module, name):
        function = getattr(module, name)

        def count(*arguments):
            calls.append((name, arguments[1]) if name == "take_field" else name)
            return function(*arguments)

        monkeypatch.setattr(module, name, count)

    for name in ("take_field", "half_spectrum", "wave_vectors", "symmetry"):
        counted(crystal_description, name)
    crystal = CrystalDescription(density)
    for _ in range(2):
        describe(crystal, "x", set(BLOCKS))
        assert crystal.origins.shape == (2, 3)
    assert sorted(map(str, calls)) == sorted(
        [str(("take_field", field)) for field in FIELDS] + ["half_spectrum"] * 4 + ["wave_vectors", "symmetry"]
    )


@pytest.mark.parametrize("field", FIELDS)
def test_a_shifted_field_is_the_shifted_density(density, field):
    crystal = CrystalDescription(density)
    for origin in crystal.origins:
        values, spectrum = crystal.shifted_field(field, origin)
        expected = shifted(crystal.field(field), -origin)
        np.testing.assert_array_equal(values.frac_coords, expected.frac_coords)
        np.testing.assert_array_equal(values.values, expected.values)
        scale = np.abs(spectrum).max()
        np.testing.assert_allclose(spectrum, half_spectrum(values.values), rtol=0, atol=1e-13 * scale)


def test_a_structure_has_everything_but_a_density():
    rutile = Structure.from_spacegroup(
        "P4_2/mnm", Lattice.tetragonal(4.59, 2.96), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
    )
    crystal = CrystalDescription.of_structure(rutile, "TiO2.cif")
    assert crystal.structure is rutile
    assert (crystal.symmetry.space_group_number, crystal.symmetry.crystal_system) == (136, "tetragonal")
    assert crystal.symmetry.n_sites_primitive == 6
    assert (len(crystal.origins), len(crystal.distinct_origins[0])) == (2, 1)
    with refused(source="TiO2.cif"):
        crystal.field("total")
    with refused(source="TiO2.cif"):
        describe(crystal, "x", {"fingerprint"})


def test_an_unknown_field_is_named(density):
    with pytest.raises(ValueError, match="'difference'"):
        CrystalDescription(density).field("difference")


@pytest.mark.parametrize(("repeats", "n_sites"), [((1, 1, 1), 1), ((2, 1, 3), 1)])
def test_the_primitive_cell_is_found_in_a_supercell(repeats, n_sites):
    copper = face_centred_cubic(3.61, "Cu") * repeats
    found = symmetry.symmetry(copper)
    assert found.n_sites_primitive == n_sites
    assert len(set(found.orbits)) == 1
    values = np.full((4, 4, 4), 1.0)
    density = Density(
        values, copper.lattice.matrix, np.array(copper.atomic_numbers), copper.frac_coords, 1.0, "valence", "x"
    )
    np.testing.assert_allclose(CrystalDescription(density).origins, copper.frac_coords[:1])
