"""Make the materials table from a snapshot of the Materials Project: labels, filters, reasons for rejections."""

import hashlib
import math
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
from pymatgen.core import Element, Structure
from pymatgen.io.vasp import Poscar
from tqdm import tqdm

from rho2prop.core.atomic_files import atomic
from rho2prop.core.errors import InputError
from rho2prop.core.targets import ATOMIZATION_ENERGY, TARGETS
from rho2prop.crystals.elasticity import BULK, DEBYE, SHEAR, YOUNG, youngs_modulus_gpa
from rho2prop.crystals.structures import checked_structure, structure_from_json
from rho2prop.dft.atomization_energy import cohesive_energies_ev, from_formation_energy
from rho2prop.materials.materials_project.snapshot import read_header, read_records, require_all_materials

LARGEST_DEBYE_K = 4000.0
REUSS_TOLERANCE = 1e-3  # relative: the interface gives three decimals
PROPERTIES = [
    "material_id",
    "formula",
    "space_group_number",
    "n_sites",
    "energy_above_hull_ev_per_atom",
    "formation_energy_from_elements_ev_per_atom",
    "magnetic_ordering",
    "total_magnetization_mub",
    "theoretical",
]


@dataclass(frozen=True)
class Filters:
    """Selection from a snapshot: keys of the section ``materials_project`` of the configuration.

    Parameters
    ----------
    elements
        Only materials made of these; empty: of any.
    exclude_elements
        No material that holds one of these.
    n_elements
        Fewest and most elements.
    max_sites
        Most atoms in the cell.
    max_energy_above_hull_ev_per_atom
        In eV per atom; None: no limit.
    bulk_modulus_gpa, shear_modulus_gpa
        Smallest and largest Voigt-Reuss-Hill average in GPa.
    reuss_at_most_voigt
        Reject tensors whose Reuss average exceeds the Voigt average.
    reject_warnings
        Reject tensors that the Materials Project flags.
    require_labels
        ``all`` or ``any`` of K, G, E, Θ.
    without_labels
        What becomes of materials that have no such elastic tensor: ``leave_out``, or ``predict`` their properties.
    atomization_energy
        Whether it becomes a label: experimental cohesive energies of the elements minus the stored formation energy.
    max_materials
        Size of a reproducible sample; None: all.
    """

    elements: tuple[str, ...]
    exclude_elements: tuple[str, ...]
    n_elements: tuple[int, int]
    max_sites: int
    max_energy_above_hull_ev_per_atom: float | None
    bulk_modulus_gpa: tuple[float, float]
    shear_modulus_gpa: tuple[float, float]
    reuss_at_most_voigt: bool
    reject_warnings: bool
    require_labels: Literal["all", "any"]
    without_labels: Literal["leave_out", "predict"]
    atomization_energy: bool
    max_materials: int | None


class Rejected(Exception):
    """Reason why a material is rejected: a category for counting, and its own values."""

    def __init__(self, kind: str, detail: str = ""):
        super().__init__(f"{kind} ({detail})" if detail else kind)
        self.kind = kind


def write_materials_project(
    snapshot: Path | str,
    filters: Filters,
    materials_path: Path | str,
    rejected_path: Path | str,
    properties_path: Path | str,
    structures_folder: Path | str,
) -> None:
    """Write the materials table, structures and properties that a run starts from. Needs no network.

    Parameters
    ----------
    snapshot
        File of ``rho2prop.materials.materials_project.snapshot``.
    filters
        What is taken.
    materials_path
        Materials table; names the structures relative to itself.
    rejected_path
        ``material_id, reason`` of every material of the snapshot that is not in the table.
    properties_path
        Other properties of the chosen materials, columns ``PROPERTIES``.
    structures_folder
        One POSCAR per chosen material.

    Raises
    ------
    InputError
        The snapshot cannot be read, a filter names an unknown element, or no material passes.
    """
    header = read_header(snapshot)
    if filters.without_labels == "predict":
        require_all_materials(header, snapshot)
    _check_elements(filters)
    cohesive_ev = cohesive_energies_ev() if filters.atomization_energy else None
    sample = _sample(snapshot, filters, cohesive_ev)
    structures_folder, materials_path = Path(structures_folder), Path(materials_path)
    rows, properties, rejected = list[dict](), list[dict](), list[dict]()
    kinds: Counter[str] = Counter()
    with atomic(structures_folder) as folder:
        folder.mkdir()
        for record in tqdm(read_records(snapshot), desc="materials", total=header["n_materials"], unit="material"):
            name = record["material_id"]
            try:
                found = labels(record, filters, cohesive_ev)
                if sample is not None and name not in sample:
                    raise Rejected("not in the sample that max_materials asks for")
                structure = _structure(record)
            except Rejected as rejection:
                rejected.append({"material_id": name, "reason": str(rejection)})
                kinds[rejection.kind] += 1
                continue
            (folder / f"{name}.vasp").write_text(Poscar(structure, comment=name).get_str(significant_figures=10))
            path = structures_folder.resolve() / f"{name}.vasp"
            rows.append({"material_id": name, "structure": _relative(path, materials_path), **found})
            properties.append(_properties(record))
        counts = "; ".join(f"{kind}: {count}" for kind, count in kinds.most_common())
        if not rows:
            problem = f"none of its {header['n_materials']} materials passes the filters ({counts})"
            raise InputError(
                snapshot,
                problem,
                "Widen the filters in section materials_project of the configuration",
                code="no_materials",
            )
        print(f"database {header['database_version']}, fetched {header['fetched_utc']}")
        n_labelled = sum(len(row) > 2 for row in rows)
        print(f"{len(rows)} of {header['n_materials']} materials chosen; left out: {counts or 'none'}")
        print(f"{n_labelled} of them with labels, {len(rows) - n_labelled} to predict")
        _write_table(rows, ["material_id", "structure", *TARGETS], materials_path)
        _write_table(rejected, ["material_id", "reason"], rejected_path)
        _write_table(properties, PROPERTIES, properties_path)


def labels(record: dict, filters: Filters, cohesive_ev: dict[str, float] | None = None) -> dict[str, float]:
    """Targets of one material of a snapshot, by column.

    Parameters
    ----------
    record
        As ``read_records`` gives it.
    filters
        What is taken.
    cohesive_ev
        Energy per atom in eV that it takes to make free atoms of each element, by symbol; None: no atomization energy.

    Returns
    -------
    dict
        Those that are known and plausible; none where there is no elastic tensor to be used and ``without_labels`` is
        ``predict``. E = 9KG/(3K+G), because the interface's own E is not available via
        mp-api. The atomization energy is the elements' mean cohesive energy minus the Materials Project's formation
        energy, which is relative to the elements; left out for an element without a cohesive energy. (Formation
        energies are themselves fitted to experiment, by the anion and GGA/GGA+U corrections: one zero.)

    Raises
    ------
    Rejected
        The material does not pass the filters.
    """
    if "problem" in record:
        raise Rejected("a row that cannot be read", record["problem"])
    summary, elasticity = record["summary"], record["elasticity"]
    if summary is None:
        raise Rejected("no summary document (deprecated or withdrawn)")
    if filters.without_labels == "predict":
        _check_material(summary, filters)
    try:
        found = _of_tensor(summary, elasticity, filters)
    except Rejected:
        if filters.without_labels == "predict":  # its stored formation energy is not a label of its own
            return {}
        raise
    energy_ev = _number(summary.get("formation_energy_per_atom"))
    if cohesive_ev is not None and energy_ev is not None:
        atomization_ev = from_formation_energy(energy_ev, _structure(record).composition, cohesive_ev)
        if atomization_ev is not None and atomization_ev > 0:
            found[ATOMIZATION_ENERGY] = atomization_ev
    return found


def _of_tensor(summary: dict, elasticity: dict | None, filters: Filters) -> dict[str, float]:
    """K, G, E and Θ from an elastic tensor that passes the filters."""
    if elasticity is None:
        raise Rejected("no elasticity document, or a shear modulus below 0 or above 1000 GPa")
    _check_material(summary, filters)
    _check_tensor(elasticity, filters)
    bulk = _modulus(elasticity, "bulk_modulus", filters.bulk_modulus_gpa)
    shear = _modulus(elasticity, "shear_modulus", filters.shear_modulus_gpa)
    found = {column: value for column, value in ((BULK, bulk), (SHEAR, shear)) if value is not None}
    if bulk is not None and shear is not None:
        found[YOUNG] = float(youngs_modulus_gpa(bulk, shear))
    debye_k = _number(elasticity.get("debye_temperature"))
    if debye_k is not None and 0 < debye_k <= LARGEST_DEBYE_K:
        found[DEBYE] = debye_k
    missing = [column for column in (BULK, SHEAR, YOUNG, DEBYE) if column not in found]
    if filters.require_labels == "all" and missing:
        raise Rejected("a label is missing or not plausible", ", ".join(missing))
    if not found:
        raise Rejected("it has no label")
    return found


def _check_elements(filters: Filters) -> None:
    for key in ("elements", "exclude_elements"):
        for symbol in getattr(filters, key):
            if not Element.is_valid_symbol(symbol):
                raise InputError(f"materials_project.{key}", f"{symbol!r} is not an element", "Write its symbol")


def _check_material(summary: dict, filters: Filters) -> None:
    if summary.get("deprecated"):
        raise Rejected("deprecated")
    if not summary.get("structure"):
        raise Rejected("no structure")
    try:
        sites = summary["structure"]["sites"]
        symbols = {s["element"].rstrip("0123456789+-") for site in sites for s in site["species"]}
    except (KeyError, TypeError, AttributeError) as error:
        raise Rejected("a structure that cannot be read", f"{type(error).__name__}: {error}") from None
    if filters.elements and not symbols <= set(filters.elements):
        raise Rejected("other elements", ", ".join(sorted(symbols - set(filters.elements))))
    if symbols & set(filters.exclude_elements):
        raise Rejected("excluded elements", ", ".join(sorted(symbols & set(filters.exclude_elements))))
    fewest, most = filters.n_elements
    if not fewest <= len(symbols) <= most:
        raise Rejected("number of elements", str(len(symbols)))
    if len(sites) > filters.max_sites:
        raise Rejected("too many sites", str(len(sites)))
    limit = filters.max_energy_above_hull_ev_per_atom
    above_hull = _number(summary.get("energy_above_hull"))
    if limit is not None and (above_hull is None or above_hull > limit):
        raise Rejected("too far above the hull", "unknown" if above_hull is None else f"{above_hull:.3f} eV/atom")


def _check_tensor(elasticity: dict, filters: Filters) -> None:
    if elasticity.get("state") == "failed":
        raise Rejected("the fit of its elastic tensor failed")
    if filters.reject_warnings and elasticity.get("warnings"):
        flags = elasticity["warnings"]
        text = "; ".join(map(str, flags)) if isinstance(flags, list) else str(flags)
        raise Rejected("its elastic tensor is flagged", text[:200])
    if filters.reuss_at_most_voigt:
        for name in ("bulk_modulus", "shear_modulus"):
            average = _averages(elasticity, name)
            reuss, voigt = _number(average.get("reuss")), _number(average.get("voigt"))
            if reuss is not None and voigt is not None and reuss > voigt + REUSS_TOLERANCE * max(1.0, abs(voigt)):
                raise Rejected("Reuss above Voigt", f"{name} {reuss:g} > {voigt:g} GPa")


def _modulus(elasticity: dict, name: str, bounds: tuple[float, float]) -> float | None:
    value = _number(_averages(elasticity, name).get("vrh"))
    if value is not None and not bounds[0] <= value <= bounds[1]:
        raise Rejected(f"{name} outside {bounds[0]:g} to {bounds[1]:g} GPa", f"{value:g}")
    return value


def _averages(elasticity: dict, name: str) -> dict:
    """The averages of a modulus by name (vrh, voigt, reuss); empty where the document has none."""
    averages = elasticity.get(name)
    if averages is not None and not isinstance(averages, dict):
        raise Rejected("a document that cannot be read", f"{name} is a {type(averages).__name__}, expected an object")
    return averages or {}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # JSON's integers have no bounds
        return None


def _structure(record: dict) -> Structure:
    content = record["summary"]["structure"]
    try:
        return checked_structure(structure_from_json(content), record["material_id"])
    except InputError as error:
        raise Rejected("a structure that cannot be computed", error.problem) from None
    except MemoryError:
        raise
    except Exception as error:  # pymatgen raises whatever a malformed value happens to trigger
        raise Rejected("a structure that cannot be read", f"{type(error).__name__}: {error}"[:200]) from None


def _sample(snapshot: Path | str, filters: Filters, cohesive_ev: dict[str, float] | None) -> set[str] | None:
    """Ids of a sample of ``max_materials``: by hash, so that a larger one contains it and no kind is preferred."""
    if filters.max_materials is None:
        return None
    passing = []
    for record in read_records(snapshot):
        try:
            labels(record, filters, cohesive_ev)
            _structure(record)
        except Rejected:
            continue
        passing.append(record["material_id"])
    passing.sort(key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    return set(passing[: filters.max_materials])


def _properties(record: dict) -> dict:
    summary = record["summary"]
    symmetry = summary.get("symmetry")
    values = (
        record["material_id"],
        summary.get("formula_pretty"),
        symmetry.get("number") if isinstance(symmetry, dict) else None,
        len(summary["structure"]["sites"]),
        summary.get("energy_above_hull"),
        summary.get("formation_energy_per_atom"),
        summary.get("ordering"),
        summary.get("total_magnetization"),
        summary.get("theoretical"),
    )
    known = [value if isinstance(value, str | bool) or _number(value) is not None else None for value in values]
    return dict(zip(PROPERTIES, known, strict=True))


def _relative(path: Path, table: Path) -> str:
    return Path(os.path.relpath(path, table.resolve().parent)).as_posix()


def _write_table(rows: list[dict], columns: list[str], path: Path | str) -> None:
    with atomic(path) as temporary:
        pd.DataFrame(rows, columns=columns).to_csv(temporary, index=False)
