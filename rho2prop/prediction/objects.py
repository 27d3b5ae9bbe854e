"""Materials as Python objects: densities and structures of pymatgen, ASE and this package, or paths of their files."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pymatgen.core import IStructure
from pymatgen.io.common import VolumetricData

from rho2prop.core.atomic_files import temporary_folder
from rho2prop.core.errors import InputError
from rho2prop.crystals.structures import structure_from_density
from rho2prop.densities.density import Density, check
from rho2prop.densities.given_density import checked_density
from rho2prop.densities.readers import density_from_volumetric
from rho2prop.prediction.inputs import read_input

if TYPE_CHECKING:
    from rho2prop.prediction.bundle.reader import Bundle

ACCEPTED = "Give a path, a pymatgen Chgcar, VolumetricData or Structure, an ASE Atoms, a rho2prop Density, or a list"


def read_object(
    material: object,
    bundle: "Bundle",
    work: Path | str | None = None,
    say: Callable[[str], None] = lambda message: None,
) -> Density:
    """The density of a material, computed first if only its structure is given.

    Parameters
    ----------
    material
        Path (str or Path), pymatgen ``Chgcar``, ``VolumetricData`` or ``Structure``, ASE ``Atoms``, or ``Density``.
    bundle, work, say
        As in ``rho2prop.prediction.inputs.read_input``.

    Raises
    ------
    InputError
        It cannot be used; names the file, or type and formula of the object.
    """
    if isinstance(material, str | os.PathLike):
        path = os.fspath(material)
        if Path(path).is_dir():
            raise InputError(path, "is a folder, expected a file", "Give one file, or a list of files")
        return read_input(path, bundle, work, say)
    if isinstance(material, Density):
        check(material, "Density")
    structure = _structure(material)
    source = f"{type(material).__name__} {structure.reduced_formula}"
    if isinstance(material, Density):
        return checked_density(material, source)
    if isinstance(material, VolumetricData):
        return density_from_volumetric(material, bundle.kind, source)
    return _compute(structure, source, bundle, work, say)


def short_name(material: object) -> str:
    """Name of a material in results: its path, or its reduced formula."""
    if isinstance(material, str | os.PathLike):
        return os.fspath(material)
    return _structure(material).reduced_formula


def _structure(material: object) -> IStructure:
    """Cell and atoms of an object."""
    if isinstance(material, IStructure):
        return material
    if isinstance(material, VolumetricData):
        return material.structure
    if isinstance(material, Density):
        return structure_from_density(material)
    name = type(material).__name__
    ase = sys.modules.get("ase")  # where it was never imported there is no object of it
    if ase is None or not isinstance(material, ase.Atoms):
        raise InputError(name, "is neither a charge density nor a crystal structure", ACCEPTED)
    if not material.pbc.all():
        formula = material.get_chemical_formula()
        problem = f"{formula} is periodic along {material.pbc.sum()} axes, expected 3"
        raise InputError(name, problem, "Give a crystal, with its cell and pbc=True")
    from pymatgen.io.ase import AseAtomsAdaptor

    return AseAtomsAdaptor.get_structure(material)


def _compute(
    structure: IStructure, source: str, bundle: "Bundle", work: Path | str | None, say: Callable[[str], None]
) -> Density:
    """Density computed for a structure, which is written to a file first."""
    with temporary_folder() as folder:
        path = folder / f"{structure.reduced_formula}.json"
        structure.to(str(path), fmt="json")
        try:
            return read_input(path, bundle, work, lambda message: say(message.replace(str(path), source)))
        except InputError as error:
            raise InputError(source, error.problem, error.fix, error.code) from error
