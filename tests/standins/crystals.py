"""Face-centred cubic crystals in their conventional cells; building them from Fm-3m takes pymatgen a second each."""

from pymatgen.core import Lattice, Structure

FACE_CENTRED = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]


def face_centred_cubic(edge_ang: float, *species: str, offset: float = 0.5) -> Structure:
    """Crystal of one species, or of two on sublattices that are ``offset`` of the body diagonal apart.

    Rock salt: an offset of 0.5; zinc blende: 0.25.
    """
    sites = [(name, [x + i * offset for x in point]) for i, name in enumerate(species) for point in FACE_CENTRED]
    return Structure(Lattice.cubic(edge_ang), *zip(*sites, strict=True))


def rock_salt(edge_ang: float = 4.2, elements: tuple[str, str] = ("Mg", "O")) -> Structure:
    return face_centred_cubic(edge_ang, *elements)
