"""Reference values of a bundle: features and predictions of two built-in crystals.

A program that computes another feature (another library, another definition) or whose parts do not belong together
(design of one bundle, trees of another) is found out before it predicts.
"""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from scipy import fft

from rho2prop import __version__
from rho2prop.core.errors import InputError
from rho2prop.densities.crystal_description import CrystalDescription
from rho2prop.densities.density import Density
from rho2prop.densities.fourier import wave_vectors
from rho2prop.features.description import describe
from rho2prop.features.design_matrix import BlockData, Latents
from rho2prop.prediction.applicability import Applicability

LIBRARIES = ("numpy", "scipy", "spglib", "pymatgen-core", "torch", "lightgbm")
# relative, and absolute in the units of the features, whose standard deviations are far above it
FEATURE_TOLERANCES = 1e-5, 1e-7
LATENT_TOLERANCE = 1e-4  # of the largest value: single precision, summed in another order on another processor
PREDICTION_TOLERANCE = 1e-3  # relative, of values, ends of intervals and distances to the training set
LATENT, PREDICTIONS, DISTANCES, COLUMNS = "latent", "predictions", "distances", "columns"
# lattice in Å, grid, atoms: number, fractional coordinates, valence electrons, width in Å; bonds between atoms
_CRYSTALS = {
    "triclinic MgAlSiO2": (
        [[4.1, 0.2, -0.1], [-0.9, 4.6, 0.3], [0.5, 0.7, 5.2]],
        (18, 20, 24),
        [
            (12, (0.03, 0.06, 0.02), 2, 0.75),
            (13, (0.48, 0.11, 0.57), 3, 0.65),
            (14, (0.08, 0.55, 0.46), 4, 0.58),
            (8, (0.29, 0.33, 0.24), 6, 0.48),
            (8, (0.71, 0.83, 0.69), 6, 0.44),
        ],
        [(3, 0), (3, 2), (3, 1), (4, 1)],
    ),
    "zinc blende ZnS": (
        [[0.0, 2.7, 2.7], [2.7, 0.0, 2.7], [2.7, 2.7, 0.0]],
        (18, 18, 18),
        [(30, (0.0, 0.0, 0.0), 12, 0.5), (16, (0.25, 0.25, 0.25), 6, 0.62)],
        [(1, 0)],
    ),
}
_BACKGROUND, _MOVED, _BOND_WIDTH_ANG = 0.1, 0.3, 0.5  # share of the electrons; electrons of a bond; their width


def reference_densities(kind: str, engine: str) -> dict[str, Density]:
    """Densities of sums of Gaussians with their promolecules, by name of the crystal."""
    return {name: _density(*crystal, kind, engine) for name, crystal in _CRYSTALS.items()}


def library_versions() -> dict[str, str]:
    """Versions of the libraries behind features and predictions."""
    found = {"rho2prop": __version__}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


class Evaluator(Protocol):
    """Interface of a bundle for its reference values."""

    @property
    def kind(self) -> str: ...
    @property
    def engine(self) -> str: ...

    def evaluate(self, density: Density, name: str) -> tuple[BlockData, pd.DataFrame, Applicability]:
        """Features, predictions and distance to the training set of one density."""


def reference_arrays(bundle: Evaluator) -> dict[str, np.ndarray]:
    """Reference values of a bundle, computed now: the arrays of its ``reference.npz``."""
    densities = reference_densities(bundle.kind, bundle.engine)
    first = next(iter(densities))
    blocks, table, applicability = bundle.evaluate(densities[first], first)
    arrays = {
        f"{LATENT}/{first}": latents.values[0].astype(np.float32)
        for latents in blocks.latents.values()
        if isinstance(latents, Latents)  # a bundle has them in memory
    }
    arrays[f"{PREDICTIONS}/{first}"] = table[["value", "lower", "upper"]].to_numpy(dtype=np.float64)
    arrays[f"{PREDICTIONS}/{COLUMNS}"] = (table["target"] + " of " + table["model"]).to_numpy(dtype=str)
    arrays[f"{DISTANCES}/{first}"] = np.array([distance for _, _, distance in applicability.nearest])
    for name, density in densities.items():  # latents cost most, and know no symmetry: of the first only
        tables = blocks.tables if name == first else describe(CrystalDescription(density, name), name, blocks.tables)
        for block, features in tables.items():
            arrays[f"{block}/{name}"] = features.loc[name].to_numpy(dtype=np.float64)
            arrays[f"{block}/{COLUMNS}"] = features.columns.to_numpy(dtype=str)
    return arrays


def only_what_is_made(wanted: dict[str, np.ndarray], made: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Reference values of the models that can be evaluated here.

    Parameters
    ----------
    wanted, made
        Arrays of the bundle's file, and of ``reference_arrays``.
    """
    columns = f"{PREDICTIONS}/{COLUMNS}"
    is_made = np.isin(wanted[columns], made[columns])
    return {
        key: values[is_made] if key.startswith(f"{PREDICTIONS}/") else values
        for key, values in wanted.items()
        if key in made
    }


def check_reference(wanted: dict[str, np.ndarray], made: dict[str, np.ndarray], versions: dict, path: Path) -> None:
    """Raise InputError, with block and column, if a computed value differs from the bundle's.

    Parameters
    ----------
    wanted, made
        Arrays of the bundle's file, and of ``reference_arrays``.
    versions
        ``library_versions`` when the bundle was written.
    path
        The bundle's file.
    """
    here = library_versions()
    differing = [f"{name} {versions.get(name)} / {here[name]}" for name in here if versions.get(name) != here[name]]
    told = f"versions in the bundle / here: {', '.join(differing) or 'the same'}"
    fix = f"Install the versions it was written with, or train again ({told})"
    if set(wanted) != set(made):
        odd = min(set(wanted) ^ set(made))
        raise InputError(path, f"the bundle and this program do not have the same reference values ({odd!r})", fix)
    for key in sorted(made, key=_order):
        block, _, crystal = key.partition("/")
        expected, found = wanted[key], made[key]
        if expected.shape != found.shape or expected.dtype.kind != found.dtype.kind:
            problem = f"{block} has the shape {found.shape}, the bundle's has {expected.shape}"
        elif found.dtype.kind == "U":
            places = np.argwhere(expected != found)
            problem = f"{block}: column {_first(found, places)!r}, the bundle has {_first(expected, places)!r}"
        else:
            places = np.argwhere(~_is_close(block, found, expected))
            names = wanted.get(f"{block}/{COLUMNS}")
            column = "" if names is None or not len(places) else f", column {str(names[places[0][0]])!r}"
            values = f"{_first(found, places)} for {crystal}, the bundle has {_first(expected, places)}"
            problem = f"{block}{column}: computed {values}"
        if expected.shape != found.shape or len(places):
            raise InputError(path, problem, fix)


def _order(key: str) -> tuple[bool, bool, str]:
    """Sort key: column names, then features, then what depends on them, so that the first difference is the cause."""
    block, _, crystal = key.partition("/")
    return crystal != COLUMNS, block in (PREDICTIONS, DISTANCES), key


def _first(values: np.ndarray, places: np.ndarray) -> Any:
    return values[tuple(places[0])].item() if len(places) else None


def _is_close(block: str, found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    relative, absolute = FEATURE_TOLERANCES
    if block == LATENT:
        relative, absolute = 0.0, LATENT_TOLERANCE * float(np.abs(expected).max(initial=0.0))
    elif block in (PREDICTIONS, DISTANCES):
        relative, absolute = PREDICTION_TOLERANCE, PREDICTION_TOLERANCE * 1e-3
    return np.isclose(found, expected, rtol=relative, atol=absolute, equal_nan=True)


def _density(
    vectors: Sequence, shape: tuple[int, int, int], atoms: Sequence, bonds: Sequence, kind: str, engine: str
) -> Density:
    lattice = np.array(vectors)
    numbers, coords, electrons, widths = (np.array(part) for part in zip(*atoms, strict=True))
    wave = wave_vectors(lattice, shape)
    squared = np.einsum("ixyz,ixyz->xyz", wave, wave)

    def gaussians(origins: np.ndarray, charges: np.ndarray, widths_ang: np.ndarray) -> np.ndarray:
        """Periodic sum of normalised Gaussians in e/Å³, made in Fourier space."""
        spectrum = np.zeros(squared.shape, dtype=np.complex128)
        for centre, charge, width in zip(origins @ lattice, charges, widths_ang, strict=True):
            spectrum += charge * np.exp(-0.5 * width**2 * squared - 1j * np.einsum("i,ixyz->xyz", centre, wave))
        return fft.irfftn(spectrum, shape) * (np.prod(shape) / abs(np.linalg.det(lattice)))

    n_electrons = float(electrons.sum())
    background = _BACKGROUND * n_electrons / abs(np.linalg.det(lattice))
    promolecule = background + gaussians(coords, (1 - _BACKGROUND) * electrons, widths)
    first, second = np.array(bonds).T
    taken = np.full(len(bonds), -_MOVED / 2)
    given, width = np.full((2, len(bonds)), [[_MOVED], [_BOND_WIDTH_ANG]])
    moved = gaussians((coords[first] + coords[second]) / 2, given, width)
    for end in (first, second):
        moved += gaussians(coords[end], taken, widths[end])
    return Density(promolecule + moved, lattice, numbers, coords, n_electrons, kind, engine, promolecule)
