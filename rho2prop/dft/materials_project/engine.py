"""Engine "materials_project": the CHGCAR that the Materials Project stores for a material, by its id.

Needs the network and MP_API_KEY where it runs. A failure of either gives no outcome (``Unreachable``): a later run
asks again. A missing density, or one of another material, is a failed outcome. The Materials Project
stores no free atoms: there is no ``compute_atom``.
"""

import json
import warnings
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Structure
from pymatgen.io.vasp import Chgcar

from rho2prop.core.errors import InputError
from rho2prop.crystals.structures import checked_structure
from rho2prop.densities.density import Density
from rho2prop.densities.electrons import possible_electrons
from rho2prop.densities.same_crystal import check_same_material
from rho2prop.dft.base import Calculation, Task
from rho2prop.dft.failures import EngineError, Unfinished
from rho2prop.dft.materials_project.client import Patience, ServiceError, connect, with_retries

ELECTRON_TOLERANCE = 0.01  # of the integral from a whole number; the files hold 11 digits, so this is generous


@dataclass(frozen=True)
class MaterialsProjectSettings:
    """Section ``dft.materials_project`` of the configuration.

    Parameters
    ----------
    max_volume_difference
        Largest relative difference between the volumes per atom of the stored calculation and the material.
    machine
        How long the client waits and how often it asks again.
    """

    max_volume_difference: float
    machine: Patience


Settings = MaterialsProjectSettings


class Unreachable(Unfinished, ServiceError):
    """The service could not be asked: nothing is known about the material."""


def version(settings: MaterialsProjectSettings) -> str:
    """Version of the client."""
    return f"mp-api {installed_version('mp-api')}"


def compute(task: Task, settings: MaterialsProjectSettings, work_dir: Path) -> Calculation:
    """Download the stored charge density and check that it belongs to the material.

    Parameters
    ----------
    task
        Material whose id is one of the Materials Project, with its structure there.
    settings
        Settings of the engine.
    work_dir
        Gets ``source.json``: where the density came from.

    Returns
    -------
    Calculation
        Density of kind "valence" in the cell of the stored calculation. No energy: those of the Materials Project
        are of several functionals.

    Raises
    ------
    EngineError
        The density is missing or wrong.
    Unreachable
        Key, network, rate limit or server: no outcome is written.
    """
    try:
        client, database = connect(settings.machine)
        chgcar = _download(client, task.material_id, settings.machine)
    except ServiceError as error:
        raise Unreachable(error.source, error.problem, error.fix, error.code) from None
    density = checked_density(chgcar, task.structure, task.material_id, settings.max_volume_difference)
    source = {"material_id": task.material_id, "database_version": database, "client": version(settings)}
    (work_dir / "source.json").write_text(json.dumps(source, indent=2) + "\n", encoding="utf-8")
    return Calculation(density, engine_version=f"{version(settings)}, database {database}")


def checked_density(chgcar: Chgcar, structure: Structure, material_id: str, max_volume_difference: float) -> Density:
    """The density of a CHGCAR, checked to be one of this material.

    Parameters
    ----------
    chgcar
        Its "total" is density times cell volume, as VASP writes it.
    structure
        The material. The stored calculation may be of another cell of the same crystal.
    material_id
        For the messages.
    max_volume_difference
        Largest relative difference of volume per atom.

    Raises
    ------
    EngineError
        Another formula or crystal, a volume too far off, or an integral that no set of PBE potentials explains.
    """
    source = f"stored density of {material_id}"
    try:
        found = checked_structure(chgcar.structure, source)
        check_same_material(found, structure, max_volume_difference, source)
    except InputError as error:
        raise EngineError(f"{error.source} {error.problem}") from error
    values = np.asarray(chgcar.data["total"], dtype=np.float64) / found.volume
    integral = float(values.mean() * found.volume)
    if not np.isfinite(integral) or abs(integral - round(integral)) > ELECTRON_TOLERANCE or round(integral) < 1:
        raise EngineError(f"{source} integrates to {integral:.4f} electrons, expected a whole number")
    n_electrons = round(integral)
    counts = {str(element): int(n) for element, n in found.composition.items()}
    if n_electrons not in possible_electrons(counts):
        raise EngineError(
            f"{source} integrates to {n_electrons} electrons, which no PBE potentials give for {found.formula}"
        )
    return Density(
        values=values.astype(np.float32),
        lattice=np.array(found.lattice.matrix),
        numbers=np.array(found.atomic_numbers, dtype=np.int64),
        frac_coords=np.array(found.frac_coords),
        n_electrons=float(n_electrons),
        kind="valence",
        engine="vasp (Materials Project)",
    )


def _download(client: Any, material_id: str, patience: Patience) -> Chgcar:
    from mp_api.client import MPRestError

    def ask() -> Chgcar | None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return client.get_charge_density_from_material_id(material_id)

    try:
        chgcar = with_retries(ask, patience, f"density of {material_id}")
    except ServiceError:
        raise
    except MPRestError as error:
        if "No object found" not in str(error):
            raise
        _require_missing(client, str(error), patience)
        raise EngineError(f"the Materials Project has no stored density of {material_id} ({error})") from None
    except (ValueError, KeyError, IndexError, TypeError) as error:
        # no id at all, or a document without the keys that the client counts on
        reason = f"{type(error).__name__}: {error}"
        raise EngineError(f"the Materials Project gives no density of {material_id} ({reason})") from error
    if chgcar is None:
        raise EngineError(f"the Materials Project has no stored density of {material_id} (no PBE static calculation)")
    if not isinstance(chgcar, Chgcar):
        raise EngineError(f"stored density of {material_id} is a {type(chgcar).__name__}, expected a CHGCAR")
    return chgcar


def _require_missing(client: Any, message: str, patience: Patience) -> None:
    """Make sure that an object is missing: mp-api says so on any refusal of the store, also on "slow down"."""
    from botocore.exceptions import ClientError

    bucket, key = message.split("s3://", 1)[1].split("/", 1)

    def ask() -> None:
        try:
            client.materials.tasks.s3_client.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] not in (403, 404):
                raise

    with_retries(ask, patience, f"store {bucket}")
