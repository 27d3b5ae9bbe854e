"""Crystal graphs: atoms and their nearest neighbours, the input of the graph network."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Structure

from rho2prop.core.atomic_files import atomic
from rho2prop.core.errors import InputError
from rho2prop.densities.crystal_description import CrystalDescription

N_NEIGHBOURS = 12  # of each atom, as in CGCNN (T. Xie, J. C. Grossman, Phys. Rev. Lett. 120, 145301 (2018))
CUTOFF_ANG = 8.0
TIE_ANG = 0.01  # neighbours within this of the last counted one are counted too: no choice between equal distances
_FLAT = ("numbers", "starts", "ends", "vectors")


@dataclass(frozen=True)
class CrystalGraph:
    """Graph of one crystal.

    Parameters
    ----------
    numbers
        Atomic numbers, shape (n,).
    starts, ends
        Atoms that each directed edge leads from and to, shape (E,).
    vectors
        From one to the other in Å, shape (E, 3), float32.
    """

    numbers: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    vectors: np.ndarray


_NONE = np.empty(0, dtype=np.int64)
_NO_ATOMS = CrystalGraph(_NONE, _NONE, _NONE, np.empty((0, 3), dtype=np.float32))


def graph(crystal: CrystalDescription) -> CrystalGraph:
    """Block graph: graph of a described crystal."""
    return crystal_graph(crystal.structure)


def crystal_graph(structure: Structure) -> CrystalGraph:
    """Graph of a crystal: edges from the neighbours of each atom to it.

    Parameters
    ----------
    structure
        Any periodic structure. Atoms with fewer than 12 neighbours within 8 Å have as many edges as there are, at
        least one: the cut-off grows until each atom has a neighbour.
    """
    cutoff_ang = CUTOFF_ANG
    while True:
        atoms, neighbours, images, lengths = structure.get_neighbor_list(cutoff_ang)
        if len(np.unique(atoms)) == len(structure):
            break
        cutoff_ang *= 1.5
    kept_parts = []
    for atom in range(len(structure)):
        edges = np.flatnonzero(atoms == atom)
        edges = edges[np.argsort(lengths[edges], kind="stable")]
        last = lengths[edges[min(N_NEIGHBOURS, len(edges)) - 1]]
        kept_parts.append(edges[lengths[edges] <= last + TIE_ANG])
    kept = np.concatenate(kept_parts)
    coords = structure.frac_coords
    vectors = (coords[atoms[kept]] - coords[neighbours[kept]] - images[kept]) @ structure.lattice.matrix
    numbers = np.array(structure.atomic_numbers, dtype=np.int64)
    return CrystalGraph(numbers, neighbours[kept], atoms[kept], vectors.astype(np.float32))


def write_graphs(graphs: dict[str, CrystalGraph], path: Path | str) -> None:
    """Write graphs by material id as one ``.npz``: arrays joined, with the number of atoms and edges of each."""
    joined = list(graphs.values()) or [_NO_ATOMS]
    arrays: dict[str, Any] = {name: np.concatenate([getattr(graph, name) for graph in joined]) for name in _FLAT}
    arrays["material_ids"] = np.array(list(graphs), dtype=str)
    arrays["n_atoms"] = np.array([len(graph.numbers) for graph in graphs.values()])
    arrays["n_edges"] = np.array([len(graph.starts) for graph in graphs.values()])
    with atomic(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


def read_graphs(path: Path | str) -> dict[str, CrystalGraph]:
    """Read a file that ``write_graphs`` writes."""
    try:
        with np.load(path) as archive:
            arrays = {name: archive[name] for name in (*_FLAT, "material_ids", "n_atoms", "n_edges")}
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise InputError(path, f"is not a readable file of graphs ({error})", "Delete it and run again") from error
    if not arrays["material_ids"].size:
        return {}
    atoms, edges = (np.cumsum(arrays[name])[:-1] for name in ("n_atoms", "n_edges"))
    parts = zip(*(np.split(arrays[name], atoms if name == "numbers" else edges) for name in _FLAT), strict=True)
    return {str(name): CrystalGraph(*part) for name, part in zip(arrays["material_ids"], parts, strict=True)}
