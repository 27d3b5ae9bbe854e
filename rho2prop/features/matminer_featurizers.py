"""Featurizers for matminer: density fingerprints and the spring network as ``BaseFeaturizer`` classes.

>>> from rho2prop.features.matminer_featurizers import SpringNetworkFeaturizer
>>> featurizer = SpringNetworkFeaturizer()
>>> featurizer.feature_labels()[:2]
['spring_network log_bulk_0.03', 'spring_network log_shear_0.03']
"""

from functools import cache
from pathlib import Path

import numpy as np
from pymatgen.core import Structure
from pymatgen.io.common import VolumetricData

from rho2prop.crystals.structures import checked_structure
from rho2prop.densities.crystal_description import CrystalDescription
from rho2prop.densities.density import Density, check
from rho2prop.densities.field_names import DEFORMATION, FIELDS, TOTAL
from rho2prop.densities.given_density import checked_density
from rho2prop.densities.readers import density_from_volumetric, read_density
from rho2prop.features.fingerprint import fingerprint_row
from rho2prop.features.registry import BLOCKS, TABLE
from rho2prop.features.spring_network import spring_network_row

try:
    from matminer.featurizers.base import BaseFeaturizer
except ImportError as error:
    raise ImportError("rho2prop's featurizers need matminer: pip install matminer") from error

DensityLike = Density | VolumetricData | Path | str
IMPLEMENTORS = ["The developers of rho2prop"]
GRADIENT_EXPANSION = """@article{Perdew1996,
  author = {Perdew, John P. and Burke, Kieron and Ernzerhof, Matthias},
  title = {Generalized Gradient Approximation Made Simple},
  journal = {Phys. Rev. Lett.}, volume = {77}, pages = {3865--3868}, year = {1996},
  doi = {10.1103/PhysRevLett.77.3865}}"""
DELTA_SAED = """@misc{Li2025,
  author = {Li, Xiwen and Hong, LiangLiang and Chen, Yingwei and Xiang, Hongjun},
  title = {Machine Learning Difference Charge Density},
  eprint = {2510.00788}, archiveprefix = {arXiv}, year = {2025}}"""
LATTICE_DYNAMICS = """@book{BornHuang1954,
  author = {Born, Max and Huang, Kun},
  title = {Dynamical Theory of Crystal Lattices},
  publisher = {Clarendon Press}, address = {Oxford}, year = {1954}}"""
AVERAGES = """@article{Hill1952,
  author = {Hill, R.},
  title = {The Elastic Behaviour of a Crystalline Aggregate},
  journal = {Proc. Phys. Soc. A}, volume = {65}, pages = {349--354}, year = {1952},
  doi = {10.1088/0370-1298/65/5/307}}"""


class DensityFingerprintFeaturizer(BaseFeaturizer):
    """Statistics of the charge density that no choice of cell, axes or origin changes.

    Parameters
    ----------
    field
        ``total`` (the density itself), ``promolecule`` (superposition of atomic densities), ``deformation`` (their
        difference) or ``atom_positions``. The two in the middle need a ``Density`` with its promolecule.
    kind
        What files and pymatgen objects hold: "valence", "promolecule" or "all_electron".

    Notes
    -----
    Densities are ``rho2prop.Density`` (e/Å³), pymatgen ``Chgcar`` (density times cell volume) or ``VolumetricData``
    (e/Bohr³), or paths of CHGCAR, cube or ``.npz`` files. Definitions and units: ``rho2prop.features.fingerprint`` and
    ``rho2prop.features.deformation_fingerprint``.
    """

    def __init__(self, field: str = TOTAL, kind: str = "valence"):
        if field not in FIELDS:
            raise ValueError(f"unknown field {field!r}; use one of {', '.join(FIELDS)}")
        self.field = field
        self.kind = kind

    def featurize(self, density: DensityLike) -> list[float]:
        """Feature values of one density, in the order of ``feature_labels``.

        Raises
        ------
        InputError
            The density is damaged, integrates to an impossible number of electrons, or lacks the field.
        """
        density, source = _read(density, self.kind)
        return list(fingerprint_row(CrystalDescription(density, source), self.field).values())

    def feature_labels(self) -> list[str]:
        """Names of the features, for example ``fingerprint mean_rho``."""
        return list(_fingerprint_labels(self.field))

    def citations(self) -> list[str]:
        """BibTeX entries of the sources."""
        return [GRADIENT_EXPANSION, DELTA_SAED] if self.field == DEFORMATION else [GRADIENT_EXPANSION]

    def implementors(self) -> list[str]:
        """Authors of the featurizer."""
        return IMPLEMENTORS


class SpringNetworkFeaturizer(BaseFeaturizer):
    """Elastic constants of a network of springs that has the geometry of the crystal (no density needed).

    Notes
    -----
    Units are those of one spring's stiffness per Å, or none; definitions: ``rho2prop.features.spring_network``.
    """

    def featurize(self, structure: Structure) -> list[float]:
        """Feature values of one ordered structure, in the order of ``feature_labels``.

        Raises
        ------
        InputError
            The structure is disordered, has overlapping atoms, or an element without a covalent radius.
        """
        source = f"Structure {structure.reduced_formula}"
        crystal = CrystalDescription.of_structure(checked_structure(structure, source), source)
        return list(spring_network_row(crystal).values())

    def feature_labels(self) -> list[str]:
        """Names of the features, for example ``spring_network log_bulk_0.03``."""
        return [f"spring_network {name}" for name in spring_network_row(CrystalDescription(_small_density()))]

    def citations(self) -> list[str]:
        """BibTeX entries of the sources."""
        return [LATTICE_DYNAMICS, AVERAGES]

    def implementors(self) -> list[str]:
        """Authors of the featurizer."""
        return IMPLEMENTORS


def _read(given: DensityLike, kind: str) -> tuple[Density, str]:
    if isinstance(given, str | Path):
        return read_density(given, kind), str(given)
    if isinstance(given, VolumetricData):
        source = f"{type(given).__name__} {given.structure.reduced_formula}"
        return density_from_volumetric(given, kind, source), source
    if isinstance(given, Density):
        check(given, "Density")
        return checked_density(given, "Density"), "Density"
    raise TypeError(f"expected a Density, Chgcar, VolumetricData or path, found {type(given).__name__}")


@cache
def _fingerprint_labels(field: str) -> tuple[str, ...]:
    row = fingerprint_row(CrystalDescription(_small_density()), field)
    block = next(block.name for block in BLOCKS.values() if block.field == field and block.form == TABLE)
    return tuple(f"{block} {name}" for name in row)


@cache
def _small_density() -> Density:
    """Any density, for the names of the features: they are the same for all."""
    points = np.arange(8) / 8
    wave = 1 + 0.5 * np.cos(2 * np.pi * points)[:, None, None] * np.cos(2 * np.pi * points)[None, :, None]
    values = np.broadcast_to(wave / 27, (8, 8, 8))
    return Density(values, 3.0 * np.eye(3), np.array([3]), np.zeros((1, 3)), 1.0, "valence", "none", values[::-1])
