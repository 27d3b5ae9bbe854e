"""Fields of a density: what they integrate to, and that fingerprints are of the crystal, not of its description."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from standins.densities import TRICLINIC_ANG, gaussian_density
from standins.refusals import refused

from rho2prop.densities.crystal_description import CrystalDescription
from rho2prop.densities.density import read_npz, write_npz
from rho2prop.densities.field_names import FIELDS, field_of
from rho2prop.densities.fields import take_field
from rho2prop.densities.transformations import rotated, shifted, supercell
from rho2prop.features.fingerprint import fingerprint, fingerprint_row


@pytest.fixture(scope="module")
def bonded():
    """Atoms of other widths as the promolecule: their difference integrates to nothing."""
    density = gaussian_density()
    atoms = gaussian_density(origins=((0.1, 0.2, 0.3), (0.6, 0.55, 0.8)))
    blurred = np.fft.ifftn(
        np.fft.fftn(atoms.values) * np.exp(-0.002 * np.add.outer(*_squares(atoms.values.shape)))
    ).real
    return replace(density, promolecule=blurred)


def _squares(shape):
    first, second, third = (np.fft.fftfreq(n, 1 / n) ** 2 for n in shape)
    return np.add.outer(first, second), third


def test_what_each_field_integrates_to(bonded):
    integrals = {field: take_field(bonded, field).integral() for field in FIELDS}
    assert integrals["total"] == pytest.approx(8.0)
    assert integrals["promolecule"] == pytest.approx(8.0)
    assert integrals["deformation"] == pytest.approx(0.0, abs=1e-9)
    assert integrals["atom_positions"] == pytest.approx(2.0)
    for field in FIELDS:
        taken = take_field(bonded, field)
        assert taken.promolecule is None
        assert taken.n_electrons == pytest.approx(integrals[field], abs=1e-9)


def test_occupancy_knows_where_atoms_are_but_not_which(bonded):
    taken = take_field(bonded, "atom_positions")
    swapped = take_field(replace(bonded, numbers=bonded.numbers[::-1], values=bonded.values * 2), "atom_positions")
    np.testing.assert_array_equal(taken.values, swapped.values)
    for centre in bonded.frac_coords:
        point = tuple(np.round(centre * taken.values.shape).astype(int) % taken.values.shape)
        assert taken.values[point] > 0.95 / (2 * np.pi * 0.5**2) ** 1.5  # both atoms as high: one Gaussian each
    assert taken.values.min() > -1e-3 * taken.values.max()


@pytest.mark.parametrize("field", ["promolecule", "deformation"])
def test_without_stored_atoms_the_message_says_what_to_set(field, tmp_path):
    write_npz(gaussian_density(), tmp_path / "d.npz")
    with refused(field, "dft.<engine>.promolecule", source="d.npz"):
        fingerprint_row(CrystalDescription(read_npz(tmp_path / "d.npz"), tmp_path / "d.npz"), field)


def test_names_of_scopes():
    assert field_of("deformation-all") == ("deformation", "all")
    assert field_of("atom_positions-chemical_system-3") == ("atom_positions", "chemical_system-3")
    assert field_of("all") == ("total", "all")
    assert field_of("random-0") == ("total", "random-0")


def descriptions(bonded):
    """Both fields go through the same change of description."""

    def both(change):
        atoms = change(replace(bonded, values=bonded.promolecule, promolecule=None))
        return replace(change(bonded), promolecule=atoms.values)

    yield "supercell", both(lambda density: supercell(density, (1, 2, 1)))
    yield "turned", both(lambda density: rotated(density, np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])))
    yield "moved", both(lambda density: shifted(density, np.array([0.013, 0.27, 0.5])))
    free = Rotation.random(rng=np.random.default_rng(5)).as_matrix()
    yield "rotated", replace(bonded, lattice=TRICLINIC_ANG @ free)


@pytest.mark.parametrize("field", ["deformation", "promolecule", "atom_positions"])
def test_fingerprint_is_of_the_crystal(bonded, field):
    reference = fingerprint(bonded, field)
    for name, description in descriptions(bonded):
        found = fingerprint(description, field)
        assert list(found) == list(reference)
        np.testing.assert_allclose(list(found.values()), list(reference.values()), rtol=1e-6, atol=1e-7, err_msg=name)


def test_difference_of_a_known_transfer(bonded):
    """A plane wave of amplitude A over atoms of constant density: all averages are known."""
    shape, amplitude = bonded.values.shape, 0.03
    wave = amplitude * np.cos(2 * np.pi * np.arange(shape[2]) / shape[2])
    flat = np.full(shape, 8.0 / bonded.volume_ang3)
    known = replace(bonded, values=flat + wave, promolecule=flat)
    found = fingerprint(known, "deformation")
    assert found["moved_per_atom"] == pytest.approx(np.abs(wave).mean() * bonded.volume_ang3 / 4, rel=1e-3)
    assert found["log_rms"] == pytest.approx(np.log10(amplitude / np.sqrt(2)), abs=1e-6)
    assert found["volume_of_gain"] == pytest.approx(0.5, abs=0.06)
    wave_number = np.linalg.norm(2 * np.pi * np.linalg.inv(bonded.lattice)[:, 2])
    assert found["log_rms_gradient"] == pytest.approx(np.log10(wave_number * amplitude / np.sqrt(2)), abs=1e-6)
    assert found["anisotropy_2"] == pytest.approx(1.0)
    energy_ev = 2 * np.pi * 14.399645 * bonded.volume_ang3 * amplitude**2 / 2 / wave_number**2
    assert found["log_hartree_per_volume"] == pytest.approx(np.log10(energy_ev / bonded.volume_ang3), abs=1e-6)
