"""Block spring_network: elastic constants of a network of springs with the geometry of the crystal.

The stiffness of a lattice against shear depends on the arrangement of its bonds and on the relaxation of atoms inside
the cell. A network of springs between neighbours whose stiffness depends on their length only describes both (M. Born,
K. Huang, Dynamical Theory of Crystal Lattices, 1954, ch. V: harmonic lattice, elastic constants with internal strain).
"""

import numpy as np
from pymatgen.core import Structure

from rho2prop.crystals.element_tables import COVALENT_RADIUS, covalent_radii_ang, of_elements
from rho2prop.densities.crystal_description import CrystalDescription

DECAY = 8.0  # stiffness exp(−DECAY (x − 1)), x = distance over the sum of covalent radii
TRANSVERSE = (0.03, 0.2)  # transverse over longitudinal stiffness: nearly central; directional
REACH = 2.0  # neighbours within this multiple of twice the largest covalent radius, at least LEAST_REACH_ANG
LEAST_REACH_ANG = 6.0
SOFTEST = 1e-10  # of the largest eigenvalue: below it a mode is a translation of the whole crystal
FLOOR = 1e-4  # of the arguments of logarithms
Springs = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def spring_network_row(crystal: CrystalDescription) -> dict[str, float]:
    """Elastic constants of the networks, in units of one spring's stiffness per Å.

    Returns
    -------
    dict
        For each ratio in ``TRANSVERSE``: logarithms of bulk and shear modulus (Hill), Reuss over Voigt average of both,
        relaxed over clamped atoms of both (Voigt), logarithm of the softest over the stiffest elastic eigenvalue.
    """
    covalent_radii_ang(crystal.structure.atomic_numbers, crystal.source)
    network = springs(crystal.structure)
    row: dict[str, float] = {}
    for ratio in TRANSVERSE:
        clamped, relaxed = elastic_tensors(crystal.structure, network, ratio)
        stiff, _, _ = moduli(clamped)
        voigt, reuss, eigenvalues = moduli(relaxed)
        log_bulk, log_shear = np.log(np.maximum((voigt + reuss) / 2, FLOOR))
        values = {"log_bulk": log_bulk, "log_shear": log_shear}
        values |= {"bulk_reuss_over_voigt": reuss[0] / voigt[0], "shear_reuss_over_voigt": reuss[1] / voigt[1]}
        values |= {"bulk_relaxed": voigt[0] / stiff[0], "shear_relaxed": voigt[1] / stiff[1]}
        values["log_softest"] = np.log(max(eigenvalues[0] / eigenvalues[-1], FLOOR))
        row |= {f"{name}_{ratio}": value for name, value in values.items()}
    return row


def elastic_tensors(structure: Structure, network: Springs, transverse: float) -> tuple[np.ndarray, np.ndarray]:
    """Elastic tensors of the network with atoms clamped to the strained lattice, and with atoms relaxed.

    Parameters
    ----------
    structure
        The crystal.
    network
        Its springs.
    transverse
        Transverse over longitudinal stiffness of a spring.

    Returns
    -------
    tuple of numpy.ndarray
        Stiffness per Å, shape (3, 3, 3, 3) each.
    """
    starts, ends, bonds, stiffness = network
    n_atoms, volume = len(structure), structure.volume
    along = bonds / np.linalg.norm(bonds, axis=1)[:, None]
    projection = along[:, :, None] * along[:, None, :]
    # Each bond is in the list from both of its ends.
    forces = stiffness[:, None, None] / 2 * ((1 - transverse) * projection + transverse * np.eye(3))
    clamped = np.einsum("bac,bx,by->axcy", forces, bonds, bonds) / volume
    clamped = (clamped + clamped.transpose(1, 0, 2, 3)) / 2
    clamped = (clamped + clamped.transpose(0, 1, 3, 2)) / 2
    hessian = np.zeros((n_atoms, n_atoms, 3, 3))
    coupling = np.zeros((n_atoms, 3, 3, 3))
    pull = np.einsum("bac,bx->bacx", forces, bonds)
    for first, second, sign in ((starts, starts, 1), (ends, ends, 1), (starts, ends, -1), (ends, starts, -1)):
        np.add.at(hessian, (first, second), sign * forces)
    np.add.at(coupling, ends, pull)
    np.add.at(coupling, starts, -pull)
    coupling = (coupling + coupling.transpose(0, 1, 3, 2)) / 2
    inverse = np.linalg.pinv(
        hessian.transpose(0, 2, 1, 3).reshape(3 * n_atoms, 3 * n_atoms), rcond=SOFTEST, hermitian=True
    )
    flat = coupling.reshape(3 * n_atoms, 9)
    return clamped, clamped - (flat.T @ inverse @ flat).reshape(3, 3, 3, 3) / volume


def moduli(tensor: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Voigt and Reuss averages of an elastic tensor, and its eigenvalues.

    Parameters
    ----------
    tensor
        Shape (3, 3, 3, 3), symmetric in each pair of indices and in the pairs.

    Returns
    -------
    tuple of numpy.ndarray
        (K, G) of Voigt, (K, G) of Reuss (R. Hill, Proc. Phys. Soc. A 65, 349 (1952)), six rising eigenvalues.
    """
    matrix = np.array([[tensor[first + second] for second in VOIGT] for first in VOIGT])
    doubled = np.sqrt([1, 1, 1, 2, 2, 2])  # Mandel's form: a rotation of the crystal does not change its eigenvalues
    values, vectors = np.linalg.eigh(matrix * doubled[:, None] * doubled)
    values = np.maximum(values, SOFTEST * values[-1])
    stiffness = (vectors * values) @ vectors.T
    compliance = (vectors / values) @ vectors.T
    bulk = np.array([1, 1, 1, 0, 0, 0]) / np.sqrt(3)  # Mandel vector of a pure change of volume
    voigt_bulk, reuss_bulk = bulk @ stiffness @ bulk / 3, 1 / (3 * bulk @ compliance @ bulk)
    voigt_shear = (np.trace(stiffness) - 3 * voigt_bulk) / 10
    reuss_shear = 5 / (2 * (np.trace(compliance) - 1 / (3 * reuss_bulk)))
    return np.array([voigt_bulk, voigt_shear]), np.array([reuss_bulk, reuss_shear]), values


def springs(structure: Structure) -> Springs:
    """First and second atom, vector in Å and stiffness of all springs, each from both of its ends."""
    radii = of_elements(COVALENT_RADIUS, structure.atomic_numbers)
    reach_ang = max(REACH * 2 * radii.max(), LEAST_REACH_ANG)
    starts, ends, images, lengths = structure.get_neighbor_list(reach_ang)
    while len(np.unique(starts)) < len(structure):  # atoms far from all others
        reach_ang *= 1.5
        starts, ends, images, lengths = structure.get_neighbor_list(reach_ang)
    coords = structure.frac_coords
    bonds = (coords[ends] + images - coords[starts]) @ structure.lattice.matrix
    return starts, ends, bonds, np.exp(-DECAY * (lengths / (radii[starts] + radii[ends]) - 1))
