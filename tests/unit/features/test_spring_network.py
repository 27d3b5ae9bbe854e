"""Elastic constants of spring networks: against theory, finite strains, and other descriptions of one crystal."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.core.operations import SymmOp
from standins.crystals import face_centred_cubic
from standins.descriptors import descriptor_tables

from rho2prop.features.spring_network import elastic_tensors, moduli, springs

ALUMINIUM = face_centred_cubic(4.05, "Al").get_primitive_structure()
ZINC_BLENDE = face_centred_cubic(5.41, "Zn", "S", offset=0.25)
ROCK_SALT = face_centred_cubic(4.21, "Mg", "O")
RUTILE = Structure.from_spacegroup(
    "P4_2/mnm", Lattice.tetragonal(4.59, 2.96), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
)


def spring_network(structures):
    return descriptor_tables(structures, {"spring_network"})["spring_network"]


def voigt(tensor, first, second):
    pairs = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
    return tensor[pairs[first] + pairs[second]]


def test_central_springs_obey_cauchy():
    clamped, relaxed = elastic_tensors(ALUMINIUM, springs(ALUMINIUM), 0.0)
    np.testing.assert_allclose(relaxed, clamped, atol=1e-12)  # one atom: nothing to relax
    assert voigt(clamped, 0, 1) == pytest.approx(voigt(clamped, 3, 3), rel=1e-10)
    assert voigt(clamped, 0, 0) > voigt(clamped, 0, 1) > 0
    assert voigt(clamped, 0, 3) == pytest.approx(0, abs=1e-12)


def test_only_atoms_without_inversion_give_way_in_a_cubic_crystal():
    clamped, relaxed = elastic_tensors(ROCK_SALT, springs(ROCK_SALT), 0.03)
    np.testing.assert_allclose(relaxed, clamped, atol=1e-12)
    clamped, relaxed = elastic_tensors(ZINC_BLENDE, springs(ZINC_BLENDE), 0.03)
    assert voigt(relaxed, 3, 3) < 0.9 * voigt(clamped, 3, 3)
    assert voigt(relaxed, 0, 0) == pytest.approx(voigt(clamped, 0, 0), rel=1e-10)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 2), (3, 3), (5, 5)])
def test_tensor_is_the_curvature_of_the_energy_with_relaxed_atoms(first, second):
    transverse = 0.2
    starts, ends, bonds, stiffness = springs(RUTILE)
    along = bonds / np.linalg.norm(bonds, axis=1)[:, None]

    def energy_per_volume(strain):
        """Least energy over all displacements, which is quadratic in them: one least-squares problem."""
        rows, rest = [], []
        for start, end, bond, unit, spring in zip(starts, ends, bonds, along, stiffness, strict=True):
            root = np.sqrt(spring / 2) * (
                np.outer(unit, unit) + np.sqrt(transverse) * (np.eye(3) - np.outer(unit, unit))
            )
            row = np.zeros((3, 3 * len(RUTILE)))
            row[:, 3 * end : 3 * end + 3] += root
            row[:, 3 * start : 3 * start + 3] -= root
            rows.append(row)
            rest.append(root @ strain @ bond)
        matrix, vector = np.concatenate(rows), np.concatenate(rest)
        moved = np.linalg.lstsq(matrix, -vector, rcond=None)[0]
        return np.sum((matrix @ moved + vector) ** 2) / 2 / RUTILE.volume

    def strain(index):
        pair = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))[index]
        tensor = np.zeros((3, 3))
        tensor[pair] += 0.5
        tensor[pair[::-1]] += 0.5
        return tensor

    one, two = strain(first), strain(second)
    curvature = (energy_per_volume(one + two) - energy_per_volume(one - two)) / 2
    _, relaxed = elastic_tensors(RUTILE, springs(RUTILE), transverse)
    assert voigt(relaxed, first, second) == pytest.approx(curvature, rel=1e-8)


def test_averages_are_those_of_an_isotropic_solid():
    delta = np.eye(3)
    bulk, shear = 3.0, 1.2
    tensor = (bulk - 2 * shear / 3) * np.einsum("ab,cd->abcd", delta, delta)
    tensor += shear * (np.einsum("ac,bd->abcd", delta, delta) + np.einsum("ad,bc->abcd", delta, delta))
    upper, lower, eigenvalues = moduli(tensor)
    np.testing.assert_allclose(upper, [bulk, shear])
    np.testing.assert_allclose(lower, [bulk, shear])
    np.testing.assert_allclose(eigenvalues, [2 * shear] * 5 + [3 * bulk])


@pytest.mark.parametrize("crystal", [ALUMINIUM, ZINC_BLENDE, RUTILE])
def test_another_description_of_the_crystal_changes_nothing(crystal):
    turn = SymmOp.from_axis_angle_and_translation([1, 2, 3], 37)
    turned = crystal.copy()
    turned.apply_operation(turn)
    shifted = crystal.copy()
    shifted.translate_sites(list(range(len(crystal))), [0.13, 0.27, 0.41])
    given = {"it": crystal, "turned": turned, "shifted": shifted, "larger": crystal * (2, 1, 1)}
    features = spring_network(given)
    assert features.shape == (4, 14)
    for name in ("turned", "shifted", "larger"):
        np.testing.assert_allclose(features.loc[name], features.loc["it"], rtol=1e-6, atol=1e-8)


def test_bounds_hold_and_a_crystal_of_molecules_is_soft_but_finite():
    molecules = Structure(Lattice.cubic(5.3), ["H", "H"], [[0.43, 0.5, 0.5], [0.57, 0.5, 0.5]])
    features = spring_network({"H2": molecules, "TiO2": RUTILE})
    assert np.isfinite(features.to_numpy()).all()
    assert features.loc["H2", "log_shear_0.2"] < features.loc["TiO2", "log_shear_0.2"] - 3
    for column in features.filter(regex="reuss_over_voigt|relaxed"):
        assert (features[column] <= 1 + 1e-9).all()
        assert (features[column] > 0).all()


def test_lonely_atoms_are_reached():
    helium = Structure(Lattice.cubic(30.0), ["He"], [[0, 0, 0]])
    assert np.isfinite(spring_network({"He": helium}).to_numpy()).all()
