"""Plotly figures of a density: plain dictionaries, arrays as base64."""

import base64

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from ase.data.colors import jmol_colors
from scipy import ndimage

from rho2prop.app.surface import isosurface
from rho2prop.app.view import DensityView

SURFACE, INK = "#0072B2", "#22272E"
CONFIG = {"displaylogo": False, "responsive": True}
EDGE_TOLERANCE = 1e-3  # in fractional coordinates: an atom on a face is drawn on the opposite face too
BALL_PX_PER_ANG = 8
SLICE_PIXELS = 160
NEAR_ANG = 0.3  # atoms this close to a slice are marked on it
AXES = ("a", "b", "c")


def crystal_figure(view: DensityView, level: float) -> dict:
    """Figure of the atoms, the cell and the isosurface at one level (e/Å³)."""
    hidden = {"visible": False, "showspikes": False}
    return {
        "data": [_surface(view, level), _cell(view.lattice), *_atoms(view)],
        "layout": {
            "scene": {
                "aspectmode": "data",
                "xaxis": hidden,
                "yaxis": hidden,
                "zaxis": hidden,
                "camera": {"projection": {"type": "orthographic"}, "eye": {"x": 1.1, "y": 1.5, "z": 0.8}},
            },
            "uirevision": "kept",  # a new level leaves the camera where it is
            "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
            "height": 420,
            "legend": {"x": 0, "y": 1, "itemsizing": "constant"},
        },
        "config": CONFIG,
    }


def slice_figure(view: DensityView, axis: int, position: float) -> dict:
    """Figure of the density on the plane at fraction ``position`` of a lattice vector, undistorted.

    Parameters
    ----------
    view
        Density to draw.
    axis
        Lattice vector that the position is measured along; the other two span the plane.
    position
        Fraction of it, 0 to 1.
    """
    first, second = (other for other in range(3) if other != axis)
    u, v = view.lattice[first], view.lattice[second]
    along = u / np.linalg.norm(u)
    across = v - (v @ along) * along
    across /= np.linalg.norm(across)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]) @ np.array([[u @ along, 0], [v @ along, v @ across]])
    x, y = (np.linspace(corners[:, k].min(), corners[:, k].max(), SLICE_PIXELS) for k in (0, 1))
    grid_x, grid_y = np.meshgrid(x, y)
    share_v = grid_y / (v @ across)
    share_u = (grid_x - share_v * (v @ along)) / (u @ along)
    fractions = np.empty((3, SLICE_PIXELS, SLICE_PIXELS))
    fractions[axis], fractions[first], fractions[second] = position, share_u, share_v
    indices = fractions * np.array(view.values.shape).reshape(3, 1, 1)
    plane = ndimage.map_coordinates(view.values, indices, order=1, mode="grid-wrap")
    plane[(share_u < -1e-9) | (share_u > 1 + 1e-9) | (share_v < -1e-9) | (share_v > 1 + 1e-9)] = np.nan
    names = f"{AXES[first]}, {AXES[second]}"
    return {
        "data": [
            _heatmap(x, y, plane, float(view.values.max())),
            _outline(corners),
            _marked_atoms(view, axis, position, along, across),
        ],
        "layout": {
            "xaxis": {"title": {"text": f"Å, plane of {names}"}, "constrain": "domain", "zeroline": False},
            "yaxis": {"scaleanchor": "x", "zeroline": False, "title": {"text": "Å"}},
            "margin": {"l": 50, "r": 10, "t": 10, "b": 45},
            "height": 420,
            "showlegend": False,
        },
        "config": CONFIG,
    }


def _surface(view: DensityView, level: float) -> dict:
    vertices, triangles = isosurface(view.values, view.lattice, level)
    return {
        "type": "mesh3d",
        "name": "isosurface",
        **{name: _packed(vertices[:, k]) for k, name in enumerate("xyz")},
        **{name: _packed(triangles[:, k]) for k, name in enumerate("ijk")},
        "color": SURFACE,
        "opacity": 0.45,
        "flatshading": False,
        "lighting": {"ambient": 0.55, "diffuse": 0.7, "specular": 0.2},
        "hoverinfo": "skip",
    }


def _cell(lattice: np.ndarray) -> dict:
    # one line along all twelve edges, some of them twice
    walk = [0, 1, 3, 2, 0, 4, 5, 7, 6, 4, 6, 2, 3, 7, 5, 1]
    points = np.array([[k & 1, k >> 1 & 1, k >> 2 & 1] for k in walk]) @ lattice
    return {
        "type": "scatter3d",
        "mode": "lines",
        "name": "cell",
        **{name: points[:, k].tolist() for k, name in enumerate("xyz")},
        "line": {"color": INK, "width": 3},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _atoms(view: DensityView) -> list[dict]:
    numbers, fractions = _with_images(view.numbers, view.frac_coords)
    places = fractions @ view.lattice
    traces = []
    for number in np.unique(numbers):
        chosen = places[numbers == number]
        symbol = chemical_symbols[number]
        traces.append(
            {
                "type": "scatter3d",
                "mode": "markers",
                "name": symbol,
                **{name: chosen[:, k].round(4).tolist() for k, name in enumerate("xyz")},
                "marker": {
                    "size": float(BALL_PX_PER_ANG * covalent_radii[number]),
                    "color": _colour(number),
                    "line": {"color": INK, "width": 1},
                    "opacity": 1,
                },
                "hovertemplate": f"{symbol} (%{{x:.2f}}, %{{y:.2f}}, %{{z:.2f}}) Å<extra></extra>",
                "showlegend": True,
            }
        )
    return traces


def _with_images(numbers: np.ndarray, fractions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Atoms, with periodic images of those on faces, edges and corners."""
    places = np.where(fractions > 1 - EDGE_TOLERANCE, fractions - 1, fractions)
    for axis in range(3):
        on_face = places[:, axis] < EDGE_TOLERANCE
        images = places[on_face].copy()
        images[:, axis] += 1
        numbers = np.concatenate([numbers, numbers[on_face]])
        places = np.concatenate([places, images])
    return numbers, places


def _heatmap(x: np.ndarray, y: np.ndarray, plane: np.ndarray, largest: float) -> dict:
    # the colour follows the square root, or all but the atoms would be one colour
    top = np.sqrt(max(largest, 1e-12))
    ticks = np.linspace(0, top, 6)
    return {
        "type": "heatmap",
        "name": "slice",
        "x": _packed(x.astype(np.float32)),
        "y": _packed(y.astype(np.float32)),
        "z": _packed(np.sqrt(np.maximum(plane, 0)).astype(np.float32)),
        "customdata": _packed(plane.astype(np.float32)),
        "zmin": 0,
        "zmax": float(top),
        "colorscale": "Viridis",
        "colorbar": {
            "title": {"text": "e/Å³"},
            "tickvals": ticks.tolist(),
            "ticktext": [f"{tick**2:.3g}" for tick in ticks],
        },
        "hovertemplate": "%{customdata:.4g} e/Å³<extra></extra>",
        "hoverongaps": False,
    }


def _outline(corners: np.ndarray) -> dict:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": corners[:, 0].tolist(),
        "y": corners[:, 1].tolist(),
        "line": {"color": INK, "width": 1.5},
        "hoverinfo": "skip",
    }


def _marked_atoms(view: DensityView, axis: int, position: float, along: np.ndarray, across: np.ndarray) -> dict:
    numbers, fractions = _with_images(view.numbers, view.frac_coords)
    normal = np.cross(along, across)
    height_ang = abs(view.lattice[axis] @ normal)
    near = np.abs(fractions[:, axis] - position) * height_ang < NEAR_ANG
    flat = fractions[near].copy()
    flat[:, axis] = 0  # the plane is drawn with its own corner at the origin
    places = flat @ view.lattice
    return {
        "type": "scatter",
        "mode": "markers",
        "x": (places @ along).tolist(),
        "y": (places @ across).tolist(),
        "text": [chemical_symbols[number] for number in numbers[near]],
        "marker": {"size": 10, "color": [_colour(z) for z in numbers[near]], "line": {"color": "white", "width": 1}},
        "hoverinfo": "text",
    }


def _colour(number: int) -> str:
    red, green, blue = (round(255 * part) for part in jmol_colors[number])
    return f"rgb({red},{green},{blue})"


def _packed(values: np.ndarray) -> dict:
    """An array in the binary form that plotly.js reads."""
    kinds = {"float32": "f4", "int32": "i4"}
    text = base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
    packed = {"dtype": kinds[values.dtype.name], "bdata": text}
    return packed if values.ndim == 1 else packed | {"shape": ", ".join(map(str, values.shape))}
