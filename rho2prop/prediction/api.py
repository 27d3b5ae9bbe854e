"""Python interface: properties and density fingerprints of files and objects.

``rho2prop.predict`` and ``rho2prop.fingerprint`` come from here; see docs/python.md.
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeGuard, cast, overload

from rho2prop.core.errors import InputError
from rho2prop.densities.density import Density
from rho2prop.densities.field_names import TOTAL
from rho2prop.prediction.bundle.reader import Bundle, load_bundle
from rho2prop.prediction.objects import read_object, short_name
from rho2prop.prediction.pretrained import find_bundle
from rho2prop.prediction.result import Prediction, Predictions

if TYPE_CHECKING:
    import pandas as pd
    from ase import Atoms
    from pymatgen.core import Structure
    from pymatgen.io.common import VolumetricData

    Material: TypeAlias = str | Path | Density | "VolumetricData" | "Structure" | "Atoms"

_LOGGER = logging.getLogger("rho2prop")


@overload
def predict(  # type: ignore[overload-overlap]  # a path as text is an iterable of texts, too
    material: "Material",
    *,
    bundle: Bundle | Path | str | None = None,
    coverage: float | None = None,
    allow_other_engine: bool = False,
    work: Path | str | None = None,
) -> Prediction: ...
@overload
def predict(
    material: "Iterable[Material]",
    *,
    bundle: Bundle | Path | str | None = None,
    coverage: float | None = None,
    allow_other_engine: bool = False,
    work: Path | str | None = None,
) -> Predictions: ...
def predict(
    material: "Material | Iterable[Material]",
    *,
    bundle: Bundle | Path | str | None = None,
    coverage: float | None = None,
    allow_other_engine: bool = False,
    work: Path | str | None = None,
) -> Prediction | Predictions:
    """Predict the properties of one material, or of several, with prediction intervals.

    Parameters
    ----------
    material
        A charge density: path of a CHGCAR, cube or ``.npz`` file, pymatgen ``Chgcar`` (density times cell volume) or
        ``VolumetricData`` read from a cube file (e/Bohr³), or ``rho2prop.Density`` (e/Å³). Or a crystal structure:
        path of a CIF, POSCAR or pymatgen JSON file, pymatgen ``Structure`` or ASE ``Atoms``; its density is then
        computed with the bundle's engine and settings, which takes seconds to minutes per atom. Or a list of these.
    bundle
        Model bundle, or its folder; by default that of ``RHO2PROP_BUNDLE``, of a run in the working directory
        (``results/models``), or the shipped one.
    coverage
        Probability, between 0 and 1, with which an interval is expected to contain the true value; by default that
        of the bundle.
    allow_other_engine
        Predict, with a warning in the result, for a density of another engine than the training set's.
    work
        Folder that keeps DFT calculations of structures, so that they are used again; by default they are discarded.

    Returns
    -------
    Prediction or Predictions
        A table of values, intervals and units, distance to the training set and warnings; of a list a ``Predictions``.

    Raises
    ------
    InputError
        The material, or the bundle, cannot be used; the message says why and what to do.

    Examples
    --------
    >>> import rho2prop
    >>> prediction = rho2prop.predict("MgO.npz")
    >>> prediction["bulk_modulus_gpa"].unit
    'GPa'
    >>> sorted(prediction.to_frame()["unit"].unique())
    ['GPa', 'K', 'eV/atom']
    """
    if coverage is not None and not 0 < coverage < 1:
        raise InputError("coverage", f"is {coverage}, expected a probability between 0 and 1", "Set it to 0.9, say")
    models = _bundle(bundle)
    if not _is_several(material):
        return _predict(cast("Material", material), models, coverage, allow_other_engine, work)
    from tqdm import tqdm

    materials = list(material)
    progress = tqdm(materials, desc="predictions", unit="material", disable=len(materials) < 2)
    predictions = []
    for number, single in enumerate(progress):
        try:
            prediction = _predict(single, models, coverage, allow_other_engine, work)
        except InputError as error:
            source = f"material {number} of the list, {error.source}"
            raise InputError(source, error.problem, error.fix, error.code) from error
        predictions.append(prediction)
    return Predictions(predictions)


def fingerprint(
    material: "Material",
    *,
    field: str = TOTAL,
    bundle: Bundle | Path | str | None = None,
    work: Path | str | None = None,
) -> "pd.Series":
    """Density fingerprint of a material: statistics that no choice of cell, axes or origin changes.

    Parameters
    ----------
    material, work
        As in ``predict``.
    field
        Field that it describes: ``total`` (the density itself), ``promolecule`` (superposition of atomic densities),
        ``deformation`` (their difference) or ``atom_positions``. The two in the middle need a density that is stored
        with its promolecule.
    bundle
        As in ``predict``; it says with which engine and settings the density of a structure is computed.

    Returns
    -------
    pandas.Series
        Feature name to value (e/Å³, Å and their combinations, see ``rho2prop.features.fingerprint``); its name is
        that of the material.

    Examples
    --------
    >>> import rho2prop
    >>> features = rho2prop.fingerprint("MgO.npz")
    >>> round(float(features["electrons_per_atom"]), 3)
    4.0
    """
    import pandas as pd

    from rho2prop.densities.crystal_description import CrystalDescription
    from rho2prop.features.fingerprint import fingerprint_row

    density = read_object(material, _bundle(bundle), work, _LOGGER.info)
    name = short_name(material)
    return pd.Series(fingerprint_row(CrystalDescription(density, name), field), name=name, dtype=float)


def _bundle(given: Bundle | Path | str | None) -> Bundle:
    return given if isinstance(given, Bundle) else load_bundle(find_bundle(given))


def _is_several(material: object) -> "TypeGuard[Iterable[Material]]":
    # Structure and Atoms are iterable themselves (over sites)
    return isinstance(material, list | tuple) or (isinstance(material, Iterable) and hasattr(material, "__next__"))


def _predict(
    material: "Material",
    bundle: Bundle,
    coverage: float | None,
    allow_other_engine: bool,
    work: Path | str | None,
) -> Prediction:
    density = read_object(material, bundle, work, _LOGGER.info)
    return bundle.predict(density, short_name(material), allow_other_engine, coverage)
