"""Engine "atoms": real GPAW's free atoms, superposed."""

from importlib import import_module

import numpy as np
import pytest
from pymatgen.core import Structure
from pymatgen.io.vasp.inputs import Poscar
from standins.gpaw_settings import COARSE, FCC
from standins.refusals import refused

from rho2prop.densities.crystal_description import CrystalDescription
from rho2prop.densities.density import Density, read_npz
from rho2prop.densities.fields import take_field
from rho2prop.densities.fourier import resample
from rho2prop.dft.base import run_material
from rho2prop.features.fingerprint import fingerprint_row

pytest.importorskip("gpaw")
pytestmark = pytest.mark.slow
atoms = import_module("rho2prop.dft.atoms")
gpaw_engine = import_module("rho2prop.dft.gpaw.engine")

SETTINGS = atoms.AtomsSettings(xc="PBE", ecut_ev=COARSE.ecut_ev)
MAGNESIA = Structure(FCC * 4.21, ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def superposed(structure: Structure) -> Density:
    return gpaw_engine.atoms_density(structure, SETTINGS.ecut_ev, SETTINGS.xc)


@pytest.fixture(scope="module")
def magnesia() -> Density:
    return superposed(MAGNESIA)


def test_a_material_gets_the_promolecule_that_a_calculation_stores(tmp_path):
    Poscar(MAGNESIA).write_file(tmp_path / "m.vasp")
    outcomes = {}
    for name, engine, settings in (("a", "atoms", SETTINGS), ("g", "gpaw", COARSE)):
        outcomes[name] = run_material("m", tmp_path / "m.vasp", None, engine, settings, tmp_path / name)
    assert (outcomes["a"].status, outcomes["a"].energy_ev, outcomes["a"].n_electrons) == ("converged", None, 16.0)
    found = read_npz(tmp_path / "a" / "density.npz")
    assert (found.kind, found.promolecule) == ("promolecule", None)
    assert found.engine.startswith("atoms of gpaw ")
    stored = gpaw_engine.with_promolecule(read_npz(tmp_path / "g" / "density.npz"), COARSE.ecut_ev, COARSE.xc)
    np.testing.assert_allclose(found.values, stored.promolecule, atol=1e-6)


def test_electrons_add_up_and_the_density_follows_the_atoms(magnesia):
    assert magnesia.integral() == pytest.approx(magnesia.n_electrons, abs=1e-3)
    moved = superposed(Structure(MAGNESIA.lattice, MAGNESIA.species, MAGNESIA.frac_coords + 0.5))
    shift = tuple(n // 2 for n in magnesia.values.shape)
    np.testing.assert_allclose(moved.values, np.roll(magnesia.values, shift, axis=(0, 1, 2)), atol=1e-4)


def test_a_superposition_is_the_sum_of_its_parts():
    """Free atoms do not know of each other: the densities of both sublattices add up to that of the crystal."""
    parts = [superposed(Structure(MAGNESIA.lattice, [site.specie], [site.frac_coords])) for site in MAGNESIA]
    whole = superposed(MAGNESIA)
    difference = np.abs(parts[0].values + parts[1].values - whole.values)  # GPAW scales the sum to whole electrons
    assert difference.mean() < 0.01 * whole.values.mean()
    assert np.abs(parts[0].values - whole.values).mean() > 0.1 * whole.values.mean()


def test_of_a_promolecule_the_promolecule_is_the_density_and_the_deformation_is_refused(magnesia):
    np.testing.assert_array_equal(take_field(magnesia, "promolecule").values, magnesia.values)
    with refused(source="MgO"):
        take_field(magnesia, "deformation", "MgO")
    crystal = CrystalDescription(magnesia, "MgO")
    assert fingerprint_row(crystal, "promolecule") == fingerprint_row(crystal, "total")


def test_a_finer_cut_off_is_the_same_density(magnesia):
    finer = gpaw_engine.atoms_density(MAGNESIA, 2 * SETTINGS.ecut_ev, SETTINGS.xc)
    coarse = resample(finer.values.astype(float), magnesia.values.shape)
    assert np.abs(coarse - magnesia.values).mean() < 0.02 * magnesia.values.mean()
    assert finer.values.size > magnesia.values.size


def test_what_the_engine_cannot_superpose_is_a_failed_outcome(tmp_path):
    Poscar(Structure(FCC * 4.0, ["Tc"], [[0, 0, 0]])).write_file(tmp_path / "m.vasp")
    outcome = run_material("m", tmp_path / "m.vasp", None, "atoms", SETTINGS, tmp_path / "m")
    assert outcome.status == "failed"
    assert "Tc" in outcome.reason
    assert not (tmp_path / "m" / "density.npz").exists()
