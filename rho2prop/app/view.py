"""The part of a density that a page keeps to draw it: atoms and a coarse copy of the grid."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from rho2prop.densities.density import Density

MOST_POINTS = 40**3  # of the grid that is drawn
FEWEST_ALONG = 8  # points along an edge


@dataclass(frozen=True)
class DensityView:
    """A density for display.

    Parameters
    ----------
    values
        e/Å³, shape (mx, my, mz), float32, periodic: the native grid, or fewer points of it by linear interpolation.
    lattice
        Lattice vectors in Å as rows.
    numbers, frac_coords
        Atomic numbers and fractional coordinates in [0, 1).
    native_shape
        Points of the native grid.
    n_electrons, kind, engine
        As in ``rho2prop.densities.density.Density``.
    """

    values: np.ndarray
    lattice: np.ndarray
    numbers: np.ndarray
    frac_coords: np.ndarray
    native_shape: tuple[int, int, int]
    n_electrons: float
    kind: str
    engine: str

    def level_enclosing(self, share: float) -> float:
        """Level in e/Å³ of the isosurface that encloses a fraction ``share`` of the electrons."""
        ordered = np.sort(self.values.ravel())[::-1].astype(np.float64)
        electrons = np.cumsum(np.maximum(ordered, 0.0))
        index = int(np.searchsorted(electrons, share * electrons[-1]))
        return float(ordered[min(index, len(ordered) - 1)])


def make_view(density: Density) -> DensityView:
    """Reduce a density to its view."""
    nx, ny, nz = native = density.values.shape
    shrink = min(1.0, (MOST_POINTS / np.prod(native)) ** (1 / 3))
    sizes = [min(n, max(FEWEST_ALONG, int(n * shrink))) for n in native]
    longest = int(np.argmax(sizes))  # of a needle, FEWEST_ALONG across leaves too many along
    sizes[longest] = min(sizes[longest], max(FEWEST_ALONG, MOST_POINTS * sizes[longest] // math.prod(sizes)))
    shape = tuple(sizes)
    values = density.values
    if shape != native:
        axes = [np.arange(m) * (n / m) for m, n in zip(shape, native, strict=True)]
        points = np.stack(np.meshgrid(*axes, indexing="ij"))
        values = ndimage.map_coordinates(values, points, order=1, mode="grid-wrap", output=np.float32)
    return DensityView(
        values=np.asarray(values, dtype=np.float32),
        lattice=np.asarray(density.lattice, dtype=np.float64),
        numbers=np.asarray(density.numbers),
        frac_coords=np.asarray(density.frac_coords, dtype=np.float64) % 1.0,
        native_shape=(int(nx), int(ny), int(nz)),
        n_electrons=density.n_electrons,
        kind=density.kind,
        engine=density.engine,
    )
