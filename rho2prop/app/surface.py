"""Isosurfaces of a periodic density, in any cell, by marching tetrahedra."""

import numpy as np

# Corner k of a cube lies at the bits of k: (k >> 2 & 1, k >> 1 & 1, k & 1). Six tetrahedra around the diagonal 0-7
# fill it, and the faces of neighbouring cubes are cut along the same diagonals, so the surface has no holes.
TETRAHEDRA = np.array([[0, 4, 6, 7], [0, 6, 2, 7], [0, 2, 3, 7], [0, 3, 1, 7], [0, 1, 5, 7], [0, 5, 4, 7]])
CORNERS = np.array([[k >> 2 & 1, k >> 1 & 1, k & 1] for k in range(8)])


def _triangle_table() -> list[list[tuple[tuple[int, int], ...]]]:
    """Triangles for each set of corners above the level (as bits), each of three edges (inside, outside corner)."""
    table: list[list[tuple[tuple[int, int], ...]]] = []
    for bits in range(16):
        inside = [corner for corner in range(4) if bits >> corner & 1]
        outside = [corner for corner in range(4) if not bits >> corner & 1]
        edges = [(a, b) for a in inside for b in outside]
        if len(edges) == 4:  # a quadrilateral: edges 0, 1, 3, 2 in turn share a corner
            table.append([(edges[0], edges[1], edges[3]), (edges[0], edges[3], edges[2])])
        else:
            table.append([tuple(edges)] if edges else [])
    return table


TRIANGLES = _triangle_table()


def isosurface(values: np.ndarray, lattice: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Isosurface of a periodic field in the cell at the origin.

    Parameters
    ----------
    values
        Field, shape (nx, ny, nz), periodic.
    lattice
        Lattice vectors in Å as rows, shape (3, 3).
    level
        Value of the field on the surface, in the field's unit.

    Returns
    -------
    vertices
        Å, shape (V, 3), float32.
    triangles
        Indices into ``vertices``, shape (T, 3), int32; seen from below the level, corners turn counter-clockwise.
        Open where it leaves the cell; empty if the field does not cross the level.

    Notes
    -----
    A. Doi, A. Koide, IEICE Trans. E74, 214 (1991): linear interpolation along the edges of tetrahedra.
    """
    closed = np.pad(np.asarray(values, dtype=np.float64), (0, 1), mode="wrap")
    shape = np.array(closed.shape)
    strides = np.array([shape[1] * shape[2], shape[2], 1])
    flat, above = closed.ravel(), closed.ravel() > level
    cubes = np.arange(closed.size).reshape(closed.shape)[:-1, :-1, :-1].ravel()
    corners = cubes[:, None] + CORNERS @ strides  # (cubes, 8)
    n_above = above[corners].sum(axis=1)
    tetrahedra = corners[(n_above > 0) & (n_above < 8)][:, TETRAHEDRA].reshape(-1, 4)
    kinds = above[tetrahedra] @ np.array([1, 2, 4, 8])
    parts = [
        tetrahedra[kinds == kind][:, np.array(triangle)]  # (tetrahedra, 3 edges, 2 ends)
        for kind in range(1, 15)
        for triangle in TRIANGLES[kind]
    ]
    edges = np.concatenate(parts)
    if not len(edges):
        return np.empty((0, 3), dtype=np.float32), np.empty((0, 3), dtype=np.int32)
    low, high = edges.min(axis=2), edges.max(axis=2)  # the same edge from either side is one vertex
    keys, triangles = np.unique(low * flat.size + high, return_inverse=True)
    low, high = keys // flat.size, keys % flat.size
    share = (level - flat[low]) / (flat[high] - flat[low])
    ends = [np.stack(np.unravel_index(points, shape), axis=1) for points in (low, high)]
    fractions = (ends[0] + share[:, None] * (ends[1] - ends[0])) / (shape - 1)
    vertices, triangles = fractions @ lattice, triangles.reshape(-1, 3)
    inside = np.stack(np.unravel_index(edges[:, 0, 0], shape), axis=1) / (shape - 1) @ lattice
    outwards = _turns_towards(vertices[triangles], inside)
    triangles[outwards] = triangles[outwards][:, [0, 2, 1]]
    return vertices.astype(np.float32), triangles.astype(np.int32)


def _turns_towards(corners: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Whether the normal of each triangle, shape (T, 3, 3), points to the side of its point, shape (T, 3)."""
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return np.einsum("ti,ti->t", normals, points - corners[:, 0]) > 0
