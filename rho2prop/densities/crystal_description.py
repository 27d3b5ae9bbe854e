"""One description of a crystal that all its features share: symmetry, origins, fields and their spectra."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
from pymatgen.core import Structure
from scipy import fft

from rho2prop.core.errors import InputError
from rho2prop.crystals.structures import structure_from_density
from rho2prop.crystals.symmetry import Symmetry, symmetry
from rho2prop.densities.density import Density
from rho2prop.densities.fields import take_field
from rho2prop.densities.fourier import half_spectrum, shifted_spectrum, wave_vectors
from rho2prop.densities.origins import distinct_origins, origins


class CrystalDescription:
    """Description of a crystal for features; each part is computed on first use and kept.

    It holds arrays of one material, at most three per field (field, spectrum, latest shifted field): make one
    description per material and drop it with the material; the arrays are released with it.

    Parameters
    ----------
    density
        Any density; None as ``of_structure`` does.
    source
        File or name of the material, for messages.
    """

    def __init__(self, density: Density | None, source: Path | str = "density"):
        self._density, self.source = density, str(source)
        self._fields: dict[str, Density] = {}
        self._spectra: dict[str, np.ndarray] = {}
        self._latest: dict[str, tuple[tuple[float, ...], Density, np.ndarray]] = {}

    @classmethod
    def of_structure(cls, structure: Structure, source: Path | str = "structure") -> "CrystalDescription":
        """Description of a crystal without a density: asking for a field raises InputError."""
        crystal = cls(None, source)
        crystal.structure = structure
        return crystal

    @property
    def density(self) -> Density:
        """The density; InputError if the crystal is known by its structure only."""
        if self._density is None:
            problem = "holds no density, which a feature of the density needs"
            raise InputError(self.source, problem, "Give a density (CHGCAR, cube or .npz)")
        return self._density

    @cached_property
    def structure(self) -> Structure:
        """Lattice and atoms, in the order of the density."""
        return structure_from_density(self.density)

    @cached_property
    def symmetry(self) -> Symmetry:
        """Space group and equivalent sites."""
        return symmetry(self.structure)

    @cached_property
    def origins(self) -> np.ndarray:
        """Fractional coordinates of the origins, shape (n, 3) (``rho2prop.densities.origins``)."""
        return origins(self.structure, self.symmetry)

    @cached_property
    def distinct_origins(self) -> tuple[np.ndarray, np.ndarray]:
        """Origins that no symmetry operation makes equivalent, shape (n, 3), and their weights, shape (n,)."""
        return distinct_origins(self.structure, self.symmetry)

    @cached_property
    def wave_vectors(self) -> np.ndarray:
        """Wave vectors of the half spectra in 1/Å, shape (3, nx, ny, nz // 2 + 1)."""
        return wave_vectors(self.density.lattice, self.density.values.shape)

    @cached_property
    def wave_squared(self) -> np.ndarray:
        """Squared lengths of the wave vectors in 1/Å², shape (nx, ny, nz // 2 + 1)."""
        return np.einsum("ixyz,ixyz->xyz", self.wave_vectors, self.wave_vectors)

    def field(self, name: str) -> Density:
        """One of ``rho2prop.densities.field_names.FIELDS`` (``rho2prop.densities.fields.take_field``)."""
        if name not in self._fields:
            self._fields[name] = take_field(self.density, name, self.source)
        return self._fields[name]

    def half_spectrum(self, name: str) -> np.ndarray:
        """``rfftn`` of a field without its Nyquist terms, shape (nx, ny, nz // 2 + 1)."""
        if name not in self._spectra:
            self._spectra[name] = half_spectrum(self.field(name).values)
        return self._spectra[name]

    def shifted_field(self, name: str, origin: np.ndarray) -> tuple[Density, np.ndarray]:
        """A field on a grid that starts at ``origin``, and its half spectrum.

        Parameters
        ----------
        name
            As for ``field``.
        origin
            Fractional coordinates, shape (3,). The result of the latest origin is kept: features that share it, as
            all do where a crystal has one, get the same arrays.
        """
        key = tuple(origin)
        if name not in self._latest or self._latest[name][0] != key:
            field, origin = self.field(name), np.asarray(origin)
            shape = field.values.shape
            spectrum = shifted_spectrum(self.half_spectrum(name), shape, -origin)
            values = fft.irfftn(spectrum, shape)
            shifted = replace(field, values=values, frac_coords=(field.frac_coords - origin) % 1.0)
            self._latest[name] = key, shifted, spectrum
        return self._latest[name][1:]
