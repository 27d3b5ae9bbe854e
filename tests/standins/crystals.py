"""Crystals whose shells of neighbours everybody knows."""

from pymatgen.core import Lattice, Structure


def rock_salt(a_ang=4.2, elements=("Mg", "O")):
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(a_ang), elements, [[0, 0, 0], [0.5, 0.5, 0.5]])
