"""Read and check the materials table, and the embedded set of elemental crystals.

The Snakefile imports this module each time it is parsed, also inside every cluster job: nothing heavy at the top.
"""

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from rho2prop.core.errors import InputError, suggestion
from rho2prop.core.targets import ATOMIZATION_ENERGY, FORMATION_ENERGY, TARGETS

SCHEMA = files(__package__) / "materials.schema.yaml"
ELEMENTS_FOLDER = "resources/elements"
SHOWN_ERRORS = 10
REFERENCES = {  # of formation energies: lowest and highest value in eV per atom that is plausible
    "free_atoms": (-30.0, 0.0),
    "elements": (-6.0, 5.0),
}


@dataclass(frozen=True)
class Material:
    """One row of the materials table; paths as they can be opened from the working directory.

    ``labels``: values by target. A formation energy relative to the elements stays under ``FORMATION_ENERGY`` until the
    composition is known (``rho2prop.materials.collection``). ``split``: its part in the split ``given``.
    """

    material_id: str
    structure: str
    density: str | None = None
    labels: dict[str, float] = field(default_factory=dict)
    split: str | None = None

    @property
    def role(self) -> str:
        """``train`` with at least one label, else ``predict``."""
        return "train" if self.labels else "predict"


@dataclass(frozen=True)
class ElementalCrystals:
    """Section ``elements`` of the configuration: which crystals of the embedded set take part.

    Parameters
    ----------
    max_atoms
        Most atoms in the cell of the collection.
    max_atomic_number
        Heaviest element.
    magnetic
        Also O, Cr, Mn, Fe, Co and Ni, which are computed with spin polarisation.
    exclude
        Symbols of elements that are left out.
    """

    max_atoms: int
    max_atomic_number: int
    magnetic: bool
    exclude: tuple[str, ...]


def load_materials(
    source: str, elements: ElementalCrystals, engine: str, formation_energy_reference: str | None
) -> dict[str, Material]:
    """The materials of a run, by id.

    Parameters
    ----------
    source
        ``elements`` or the path of a materials table.
    elements
        Which crystals ``elements`` means.
    engine
        DFT engine; ``files`` needs a density in each row.
    formation_energy_reference
        See ``read_table``.
    """
    if source == "elements":
        return element_materials(elements)
    return read_table(Path(source), engine == "files", formation_energy_reference)


def read_table(
    path: Path, needs_density: bool = False, formation_energy_reference: str | None = None
) -> dict[str, Material]:
    """Read and check a materials table.

    Parameters
    ----------
    path
        CSV file.
    needs_density
        Whether each row must name a density file.
    formation_energy_reference
        What a column ``formation_energy_ev_per_atom`` is relative to: ``free_atoms`` or ``elements``; None: there must
        be no such column.

    Raises
    ------
    InputError
        All bad rows (at most ten are shown), each with line, column, value and fix.
    """
    if not path.is_file():
        raise InputError(
            path,
            "there is no such materials table",
            'Give the path of a CSV file, or "elements", as config key `materials`',
            code="missing",
        )
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, restkey="(surplus cells)", strict=True)
            _check_header(path, reader.fieldnames, schema, formation_energy_reference)
            rows = [(reader.line_num, row) for row in reader if any(row.values())]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(path, f"not a readable CSV file ({error})", "Save the table as CSV in UTF-8") from error
    if not rows:
        raise InputError(path, "the table has no rows", "Add one row per material", code="empty")

    materials: dict[str, Material] = {}
    lines: dict[str, int] = {}
    errors: list[str] = []
    for line, cells in rows:
        record: dict[str, Any] = {
            column: _cell_value(column, cell) for column, cell in cells.items() if cell not in ("", None)
        }
        row_errors = list(_row_errors(line, record, validator, path.parent, needs_density))
        row_errors += _formation_energy_errors(line, record.get(FORMATION_ENERGY), formation_energy_reference)
        if "split" in cells and "split" not in record and _labels(record, formation_energy_reference):
            row_errors.append(f"line {line}, column split: blank; write train, validation or test")
        material_id = str(record.get("material_id", ""))
        if not row_errors and material_id in materials:
            row_errors = [
                f"line {line}, column material_id: {material_id!r} already appears on line {lines[material_id]}; "
                "give each material its own id or delete one row"
            ]
        errors += row_errors
        if not row_errors:
            lines[material_id] = line
            materials[material_id] = Material(
                material_id,
                str(path.parent / record["structure"]),
                str(path.parent / record["density"]) if "density" in record else None,
                _labels(record, formation_energy_reference),
                record.get("split"),
            )
    if errors:
        more = f"\n  ... and {len(errors) - SHOWN_ERRORS} more" if len(errors) > SHOWN_ERRORS else ""
        listing = "".join(f"\n  {path}: {error}" for error in errors[:SHOWN_ERRORS])
        raise TableError(f"{len(errors)} bad row(s) in the materials table:{listing}{more}")
    return materials


class TableError(ValueError):
    """Several rows of a table are invalid; the message has one line for each."""


def _check_header(
    path: Path, header: Sequence[str] | None, schema: dict, formation_energy_reference: str | None
) -> None:
    known = list(schema["properties"])
    header = header or []
    for column in header:
        if column not in known:
            raise InputError(f"{path}: line 1", f"unknown column {column!r}", f"Use the columns {', '.join(known)}")
        if header.count(column) > 1:
            raise InputError(f"{path}: line 1", f"column {column!r} appears twice", "Delete one of them")
    for column in schema["required"]:
        if column not in header:
            raise InputError(f"{path}: line 1", f"column {column!r} is missing", "Add it; every material needs it")
    if FORMATION_ENERGY in header and ATOMIZATION_ENERGY in header:
        problem = f"has both columns {FORMATION_ENERGY} and {ATOMIZATION_ENERGY}, which become one label"
        raise InputError(f"{path}: line 1", problem, "Delete one of them")
    if FORMATION_ENERGY in header and formation_energy_reference is None:
        fix = "Set labels.formation_energy_reference in the configuration: elements (as in databases) or free_atoms"
        raise InputError(f"{path}: line 1", f"column {FORMATION_ENERGY} does not say what it is relative to", fix)


def _cell_value(column: str, cell: str) -> str | float:
    if column not in TARGETS and column != FORMATION_ENERGY:
        return cell
    try:
        number = float(cell)
    except (TypeError, ValueError):
        return cell
    return number if math.isfinite(number) else cell


def _row_errors(line: int, record: dict, validator: Any, folder: Path, needs_density: bool) -> Iterator[str]:
    for error in validator.iter_errors(record):
        column = error.path[0] if error.path else None
        if column is None:
            yield f"line {line}: {error.message}; fill in the cell or delete the surplus ones"
        else:
            expected = validator.schema["properties"][column]["description"]
            yield f"line {line}, column {column}: {record[column]!r} is not possible; expected: {expected}"
    if needs_density and "density" not in record:
        yield f'line {line}, column density: blank, but the engine is "files"; name the density file or set dft.engine'
    for column in ("structure", "density"):
        if isinstance(record.get(column), str) and not (folder / record[column]).is_file():
            yield f"line {line}, column {column}: there is no file {folder / record[column]}; correct the path"


def _formation_energy_errors(line: int, value: object, reference: str | None) -> Iterator[str]:
    if not isinstance(value, float) or reference is None:
        return
    low, high = REFERENCES[reference]
    if not low <= value <= high or (reference == "free_atoms" and value == high):
        other = "elements" if reference == "free_atoms" else "free_atoms"
        yield (
            f"line {line}, column {FORMATION_ENERGY}: {value} is not possible relative to {reference} "
            f"(labels.formation_energy_reference; {low:g} to {high:g}); correct it, or set the key to {other}"
        )


def _labels(record: dict, formation_energy_reference: str | None) -> dict[str, float]:
    labels = {column: record[column] for column in (*TARGETS, FORMATION_ENERGY) if column in record}
    if formation_energy_reference == "free_atoms" and FORMATION_ENERGY in labels:
        labels[ATOMIZATION_ENERGY] = -labels.pop(FORMATION_ENERGY)
    return labels


def element_materials(chosen: ElementalCrystals) -> dict[str, Material]:
    """Elemental crystals of ASE's DeltaCodes collection with WIEN2k (PBE, all-electron) bulk moduli.

    Source: K. Lejaeghere et al., Science 351, aad3000 (2016); ``ase.collections.dcdft``.

    Raises
    ------
    InputError
        ``exclude`` holds something that is not the symbol of an element.
    """
    from ase.collections import dcdft
    from ase.data import atomic_numbers

    for symbol in chosen.exclude:
        if symbol not in atomic_numbers:
            raise InputError("elements.exclude", f"unknown element {symbol!r}", suggestion(symbol, dcdft.names))
    materials = {}
    for symbol in sorted(dcdft.names, key=atomic_numbers.__getitem__):
        atoms = dcdft[symbol]
        if len(atoms) > chosen.max_atoms or atomic_numbers[symbol] > chosen.max_atomic_number:
            continue
        if symbol in chosen.exclude or (atoms.get_initial_magnetic_moments().any() and not chosen.magnetic):
            continue
        labels = {"bulk_modulus_gpa": dcdft.data[symbol]["wien2k_B"]}
        materials[symbol] = Material(symbol, f"{ELEMENTS_FOLDER}/{symbol}.vasp", labels=labels)
    return materials


def write_element_structures(symbols: list[str], folder: Path) -> None:
    """Write the primitive cells of elemental crystals of the embedded set as POSCAR files."""
    from ase.collections import dcdft
    from pymatgen.io.ase import AseAtomsAdaptor
    from pymatgen.io.vasp import Poscar

    from rho2prop.core.atomic_files import atomic

    for symbol in symbols:
        structure = AseAtomsAdaptor.get_structure(dcdft[symbol]).get_primitive_structure()
        with atomic(folder / f"{symbol}.vasp") as temporary:
            temporary.write_text(Poscar(structure, comment=symbol).get_str(significant_figures=10))
