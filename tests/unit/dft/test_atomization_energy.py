"""Free atoms and atomization energies against known numbers of PBE, at low cut-offs and in small boxes."""

from dataclasses import replace
from importlib import import_module

import pytest
from pymatgen.core import Composition, Structure
from pymatgen.io.vasp.inputs import Poscar
from standins.gpaw_settings import COARSE, FCC
from standins.refusals import lacking

from rho2prop.dft.atomization_energy import atomization_energy_ev_per_atom, from_formation_energy, read_atoms
from rho2prop.dft.base import atom_in_box, run_atom, run_material
from rho2prop.dft.outcome import read_outcome

pytest.importorskip("gpaw")
atom = import_module("rho2prop.dft.gpaw.atom")
pytestmark = pytest.mark.slow

SETTINGS = replace(COARSE, ecut_ev=300, k_spacing_per_ang=0.6)


@pytest.fixture(scope="module")
def atoms(tmp_path_factory):
    """Folders of the free atoms of C and Si."""
    folder = tmp_path_factory.mktemp("atoms")
    for symbol in ("C", "Si"):
        run_atom(symbol, "gpaw", SETTINGS, folder / symbol)
    return folder


def test_atoms_have_the_moments_of_hunds_rules(atoms, tmp_path):
    for symbol in ("C", "Si"):
        outcome = read_outcome(atoms / symbol, needs_density=False)
        assert (outcome.status, outcome.corrections, outcome.protocol_changes) == ("converged", [], [])
        assert outcome.magnetic_moment_mub == pytest.approx(2.0, abs=1e-3)
    nitrogen = run_atom("N", "gpaw", replace(SETTINGS, ecut_ev=200, atom_box_ang=5.0), tmp_path / "N")
    assert nitrogen.magnetic_moment_mub == pytest.approx(3.0, abs=1e-3)
    assert (nitrogen.n_electrons, nitrogen.grid) == (None, None)


@pytest.mark.parametrize(
    ("symbol", "edge_ang", "cohesive_ev"),
    # PBE without zero-point energy, to a tenth of an eV; small box and cut-off cost as much again
    [("C", 3.573, 7.7), ("Si", 5.469, 4.6)],
)
def test_cohesive_energy_is_that_of_pbe(atoms, tmp_path, symbol, edge_ang, cohesive_ev):
    crystal = Structure(FCC * edge_ang, [symbol] * 2, [[0, 0, 0], [0.25, 0.25, 0.25]])
    Poscar(crystal).write_file(tmp_path / "crystal.vasp")
    outcome = run_material("crystal", tmp_path / "crystal.vasp", None, "gpaw", SETTINGS, tmp_path / "crystal")
    assert outcome.magnetic_moment_mub is None
    table, energies_ev = read_atoms([str(atoms / name) for name in ("C", "Si")])
    assert list(table["material_id"]) == ["C", "Si"]
    atomization_ev = atomization_energy_ev_per_atom(outcome.energy_ev, crystal, energies_ev)
    assert atomization_ev == pytest.approx(cohesive_ev, abs=0.3)


def test_atom_that_does_not_converge_records_each_attempt(tmp_path):
    outcome = run_atom("C", "gpaw", replace(SETTINGS, max_iterations=2, atom_box_ang=4.0), tmp_path / "C")
    assert (outcome.status, outcome.energy_ev) == ("failed", None)
    assert not lacking(outcome.reason, 2)
    assert len(outcome.corrections) == 2
    assert len(outcome.protocol_changes) == 1
    assert not lacking(outcome.protocol_changes[0], "Fermi-Dirac", "0.1 eV")


def test_direct_minimisation_finds_the_same_atom(atoms, tmp_path, monkeypatch):
    second = atom.attempts(0.1)[1]
    monkeypatch.setattr(atom, "attempts", lambda smearing_ev: [second])
    outcome = run_atom("C", "gpaw", SETTINGS, tmp_path / "C")
    known = read_outcome(atoms / "C", needs_density=False)
    assert outcome.energy_ev == pytest.approx(known.energy_ev, abs=0.02)
    assert outcome.magnetic_moment_mub == pytest.approx(2.0, abs=1e-3)
    assert len(outcome.corrections) == 1
    assert outcome.protocol_changes == []


def test_a_smeared_atom_with_an_open_d_shell_converges(tmp_path, monkeypatch):
    """Titanium: neither a cycle with integer occupations nor direct minimisation converges; its moment is kept."""
    third = atom.attempts(0.1)[2]
    monkeypatch.setattr(atom, "attempts", lambda smearing_ev: [third])
    outcome = run_atom("Ti", "gpaw", replace(SETTINGS, atom_box_ang=7.0, max_iterations=150), tmp_path / "Ti")
    assert outcome.status == "converged"
    assert outcome.magnetic_moment_mub == pytest.approx(2.0, abs=0.01)
    assert len(outcome.protocol_changes) == 1
    assert not lacking(outcome.protocol_changes[0], "Fermi-Dirac", "0.1 eV")
    assert outcome.energy_ev == pytest.approx(-1.2, abs=0.3)  # below the spherical atom without spin, GPAW's zero


def test_element_without_dataset_is_named(tmp_path):
    outcome = run_atom("Tc", "gpaw", SETTINGS, tmp_path / "Tc")
    assert outcome.status == "failed"
    assert not lacking(outcome.reason, "PBE", "Tc")


def test_atomization_energy_needs_each_atom():
    magnesia = Structure(FCC * 4.21, ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert atomization_energy_ev_per_atom(-12.0, magnesia, {"Mg": -1.0, "O": -1.0}) == pytest.approx(5.0)
    assert atomization_energy_ev_per_atom(-12.0, magnesia, {"Mg": -1.0}) is None


def test_formation_energies_of_both_references_agree():
    """A Born-Haber cycle: apart into the elements, then these into atoms, or at once."""
    magnesia = Structure(FCC * 4.21, ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    atoms_ev, of_elements_ev = {"Mg": -1.0, "O": -2.0}, {"Mg": 1.5, "O": 2.5}  # solid at −2.5, half a molecule at −4.5
    crystal_ev = -7.0 - 6.0
    relative_to_elements = (crystal_ev + 2.5 + 4.5) / 2
    energy = from_formation_energy(relative_to_elements, magnesia.composition, of_elements_ev)
    assert energy == pytest.approx(atomization_energy_ev_per_atom(crystal_ev, magnesia, atoms_ev)) == 5.0
    assert from_formation_energy(0.0, Composition("Mg"), of_elements_ev) == 1.5  # its cohesive energy
    assert from_formation_energy(-3.0, Composition("HeO"), of_elements_ev) is None


def test_box_of_an_atom_has_unequal_edges():
    a, b, c = atom_in_box("O", 8.0).lattice.abc
    assert (a, a < b < c) == (8.0, True)
