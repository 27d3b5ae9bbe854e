"""Reading charge densities that other programs wrote: VASP's CHGCAR family, Gaussian cube, our own .npz."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pymatgen.core import Structure

from rho2prop.core.errors import InputError
from rho2prop.core.file_content import OPENERS
from rho2prop.crystals.element_tables import COVALENT_RADIUS, of_elements
from rho2prop.crystals.structures import checked_structure, make_structure, structure_from_density
from rho2prop.densities.chgcar_reader import read_chgcar
from rho2prop.densities.cube_reader import BOHR_ANG, read_cube
from rho2prop.densities.density import ELECTRON_TOLERANCE, KINDS, Density, check, read_npz
from rho2prop.densities.given_density import checked_density
from rho2prop.densities.same_crystal import check_same_crystal

if TYPE_CHECKING:
    from pymatgen.io.common import VolumetricData

FIX_FORMAT = "Give a CHGCAR or CHG (plain, .gz, .bz2, .xz), a .cube or a .npz file"
EXACT_ELECTRONS = 1e-4  # relative; VASP's CHGCAR and CHG are exact to their digits, an all-electron AECCAR is not
# of the distance of two atoms to their covalent radii: at least 0.78 in 515 crystals of the Materials Project, about
# 0.55 where Å are taken for Bohr
SMALLEST_DISTANCE_RATIO = 0.64
UNKNOWN_RADIUS_ANG = 1.7  # beyond curium
NOT_VALENCE = {
    "aeccar0": "the core charge",
    "aeccar1": "the promolecule",
    "aeccar2": "the all-electron-like valence density, with its nodes at the nuclei",
}


def read_density(path: Path | str, kind: str = "valence", structure: Structure | None = None) -> Density:
    """Read and check a density of the user; the name of the file gives its format.

    Parameters
    ----------
    path
        CHGCAR or CHG file (also ``*.chgcar``, ``*.vasp``; AECCAR1 as promolecule) or Gaussian cube, each plain or
        compressed (.gz, .bz2, .xz), or ``.npz``.
    kind
        What the file holds: "valence", "promolecule" or "all_electron".
    structure
        Structure that the density must belong to: same formula, number of atoms, lattice (1 %) and positions (0.05 Å).

    Returns
    -------
    Density
        In e/Å³. CHGCAR files hold density times cell volume (VASP wiki, CHGCAR), cube files e/Bohr³. Its ``remarks``
        say what the user must know, for instance a charged cell.
    """
    density = checked_density(parse_density(path, kind), path)
    if structure is not None:
        check_same_crystal(structure_from_density(density), structure, path)
    return density


def parse_density(path: Path | str, kind: str = "valence") -> Density:
    """As ``read_density``, for the files of a calculation whose number of electrons and crystal are known anyway."""
    path = Path(path)
    if kind not in KINDS:
        raise InputError(
            path, f"unknown kind of density {kind!r}", f"Set kind to one of {', '.join(KINDS)}", code="kind"
        )
    name = path.name.lower()
    bare = Path(name).stem if Path(name).suffix in OPENERS else name
    if not path.is_file():
        raise InputError(path, "density file does not exist", "Check the path", code="missing")
    if bare.endswith(".npz") and bare == name:
        density = read_npz(path)
        if density.kind != kind:
            problem = f"holds a density of kind {density.kind}, expected {kind}"
            raise InputError(path, problem, "Give a density of the kind that the configuration names", code="kind")
        return density
    if bare.endswith((".cube", ".cub")):
        density = _counted(*read_cube(path), kind=kind, engine="cube", path=path)
        _check_bohr(density, path)
        return density
    if "chg" in bare or "aeccar" in bare or bare.endswith(".vasp"):
        check_name(path, kind)
        return _read_vasp(path, kind)
    if bare.endswith(".json"):
        problem = "is JSON: a charge density in JSON is not read"
        raise InputError(path, problem, "Save it as CHGCAR: Chgcar.write_file('CHGCAR') in pymatgen", code="json")
    raise InputError(path, "its name is not that of a known density format", FIX_FORMAT, code="format")


def check_name(path: Path, kind: str) -> None:
    """Raise InputError if a file is not of this kind by VASP's name for it."""
    for name, content in NOT_VALENCE.items():
        if name in path.name.lower() and not (name == "aeccar1" and kind == "promolecule"):
            problem = f"holds {content} by its name, not a density of kind {kind}"
            fix = (
                "Give the CHGCAR: AECCARs are only read beside it, in a run with engine vasp, for the "
                "atoms (their integral on VASP's grid is not a whole number)"
            )
            raise InputError(path, problem, fix, code="kind")


def density_from_volumetric(data: "VolumetricData", kind: str, source: str) -> Density:
    """A checked density from an object of pymatgen.

    Parameters
    ----------
    data
        ``Chgcar`` (or VASP's ``VolumetricData``), which holds density times cell volume in electrons, or the general
        ``VolumetricData``, which holds what a cube file does, e/Bohr³. Only ``data["total"]`` is read.
    kind
        What it holds: "valence", "promolecule" or "all_electron".
    source
        Name for messages.
    """
    from pymatgen.io.vasp.outputs import Elfcar, Locpot
    from pymatgen.io.vasp.outputs import VolumetricData as VaspData

    if isinstance(data, Elfcar | Locpot) or "total" not in data.data:
        problem = f"is a {type(data).__name__} with {', '.join(data.data)}, not a charge density"
        raise InputError(source, problem, "Give a Chgcar, or VolumetricData with the key total")
    structure = checked_structure(data.structure, source)
    cell = structure.lattice.matrix, np.array(structure.atomic_numbers), structure.frac_coords
    total = np.asarray(data.data["total"], dtype=np.float64)
    if isinstance(data, VaspData):
        density = _from_vasp(total, *cell, kind=kind, source=source)
    else:
        density = _counted(total / BOHR_ANG**3, *cell, kind=kind, engine="cube", path=source)
        _check_bohr(density, source)
    return checked_density(density, source)


def _read_vasp(path: Path, kind: str) -> Density:
    chgcar = read_chgcar(path)
    return _from_vasp(chgcar.total, chgcar.lattice, chgcar.numbers, chgcar.frac_coords, kind=kind, source=path)


def _from_vasp(
    total: np.ndarray,
    lattice: np.ndarray,
    numbers: np.ndarray,
    frac_coords: np.ndarray,
    kind: str,
    source: Path | str,
) -> Density:
    """From density times volume, which integrates to a whole number of electrons up to VASP's last digit."""
    structure = checked_structure(make_structure(lattice, numbers, frac_coords), source)
    density = _counted(total / structure.volume, lattice, numbers, frac_coords, kind=kind, engine="vasp", path=source)
    integral = float(total.mean())
    if abs(integral - density.n_electrons) > EXACT_ELECTRONS * density.n_electrons:
        remark = (
            f"integrates to {integral:.4f} electrons, where VASP's CHGCAR gives {density.n_electrons:g} to its last "
            "digit: it may be an AECCAR, which is another quantity, or another program's density"
        )
        density = replace(density, remarks=(*density.remarks, remark))
    return density


def _check_bohr(density: Density, path: Path | str) -> None:
    """Raise InputError if atoms are as close as in a crystal whose lengths in Å were taken for Bohr."""
    crystal = checked_structure(structure_from_density(density), path)
    radii = np.nan_to_num(of_elements(COVALENT_RADIUS, density.numbers), nan=UNKNOWN_RADIUS_ANG)
    first, second, _, distances = crystal.get_neighbor_list(2 * SMALLEST_DISTANCE_RATIO * radii.max())
    ratios = distances / (radii[first] + radii[second])
    if ratios.min(initial=np.inf) < SMALLEST_DISTANCE_RATIO:
        closest = int(np.argmin(ratios))
        atoms = f"{crystal[first[closest]].specie} and {crystal[second[closest]].specie}"
        problem = f"has {atoms} {distances[closest]:.2f} Å apart, half of what it is in crystals"
        raise InputError(
            path, problem, "Its lengths seem to be in Å: write them in Bohr, its values in e/Bohr³", code="bohr"
        )


def _counted(
    values: np.ndarray,
    lattice: np.ndarray,
    numbers: np.ndarray,
    frac_coords: np.ndarray,
    kind: str,
    engine: str,
    path: Path | str,
) -> Density:
    """A checked Density whose number of electrons is the whole number nearest to its integral."""
    integral = float(values.mean(dtype=np.float64) * abs(np.linalg.det(lattice)))
    n_electrons = round(integral) if np.isfinite(integral) else 1  # check() names the point that is not finite
    if np.isfinite(integral) and abs(integral - n_electrons) > ELECTRON_TOLERANCE * max(n_electrons, 1):
        problem = f"integrates to {integral:.4f} electrons, expected a whole number within 0.1 %"
        raise InputError(path, problem, "Check that it holds the density of one whole cell", code="electrons")
    if n_electrons < 1:
        problem = f"integrates to {integral:.4f} electrons, expected at least 1"
        raise InputError(path, problem, "Give the total density, not a difference or spin density", code="electrons")
    with np.errstate(over="ignore"):  # check() names such a point
        values = np.ascontiguousarray(values, dtype=np.float32)
    density = Density(
        values=values,
        lattice=np.array(lattice, dtype=np.float64),
        numbers=np.array(numbers, dtype=np.int64),
        frac_coords=np.array(frac_coords, dtype=np.float64),
        n_electrons=float(n_electrons),
        kind=kind,
        engine=engine,
    )
    check(density, path)
    return density
