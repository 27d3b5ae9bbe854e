"""Check that pymatgen's parser takes all crystals, sites, atoms and the symmetry from a CIF."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pymatgen.core import Composition, Structure

from rho2prop.core.errors import InputError

TOLERANCE = 0.01  # relative: formulas of refinements are rounded
FIX = "Add the missing atoms with their positions (hydrogens are often left out), or correct the formula of the CIF"


GROUPS = re.compile(r"OH|NO3|[Ww]at|O-H")  # symbols that the parser takes for a group of atoms, or leaves out
SPACE_GROUP = re.compile(r"_space_group_name_(h-m|h_m|hall)|_(it|int_tables)_number", re.IGNORECASE)


def count_crystals(text: str) -> int:
    """Number of data blocks with sites."""
    blocks = re.split(r"^\s*data_", text, flags=re.IGNORECASE | re.MULTILINE)
    return sum("_atom_site_fract_x" in block.lower() for block in blocks)


def check_sites(blocks: dict[str, dict], path: Path) -> None:
    """Raise InputError if the parser would silently leave out a site; arguments as in ``check_formula``."""
    for items in blocks.values():
        labels = _column(items, "_atom_site_label")
        symbols = _column(items, "_atom_site_type_symbol") or labels
        for label, symbol in zip(labels, symbols, strict=False):
            if not symbol[:1].isalpha() or GROUPS.match(symbol):
                problem = f"its site {label} is given as {symbol!r}, expected an element"
                raise InputError(
                    path, problem, "Write its element, and each atom of a group with its own position", code="element"
                )
        for label, occupancy in zip(labels, _column(items, "_atom_site_occupancy"), strict=False):
            number = _number(occupancy)
            if occupancy == "." or (number is not None and number <= 0):
                problem = f"its site {label} has the occupancy {occupancy!r}"
                raise InputError(path, problem, "Write 1 for a whole atom, or delete the site", code="occupancy")


def check_symmetry(parser: Any, path: Path) -> None:
    """Raise InputError if a space group is named that pymatgen's ``CifParser`` took for P 1 after all."""
    if not any("Defaulting to P1" in warning for warning in parser.warnings):
        return
    for items in parser.as_dict().values():
        names = [str(value) for key, value in items.items() if SPACE_GROUP.search(key)]
        unknown = [name for name in names if "".join(name.split()).lower() not in ("p1", "1", "?", ".", "")]
        if unknown:
            problem = f"names the space group {unknown[0]!r} without its operations, and that name is not known"
            raise InputError(
                path, problem, "Add the operations (_symmetry_equiv_pos_as_xyz), or correct the name", code="symmetry"
            )


def check_formula(blocks: dict[str, dict], structure: Structure, path: Path) -> None:
    """Raise InputError if the CIF states more atoms than its sites hold.

    Parameters
    ----------
    blocks
        Items of each data block, as pymatgen's ``CifParser.as_dict`` gives them.
    structure
        All sites of the cell.
    path
        The CIF.
    """
    sites = _united((_symbol(element), amount) for element, amount in structure.composition.items())
    for items in blocks.values():
        if not any(key.startswith("_atom_site_") for key in items):
            continue
        formula = _formula(items)
        if formula:
            _compare(formula, _number(items.get("_cell_formula_units_Z")), sites, path)
        attached = sum(_number(value) or 0 for value in items.get("_atom_site_attached_hydrogens", []))
        if attached > 0 and not sites.get("H"):
            problem = f"has {attached:g} hydrogens that are attached to its atoms and have no positions of their own"
            raise InputError(path, problem, FIX, code="formula")


def _compare(formula: dict[str, float], n_units: float | None, sites: dict[str, float], path: Path) -> None:
    shares = {symbol: sites.get(symbol, 0.0) / amount for symbol, amount in formula.items()}
    most = max(shares.values())
    missing = [symbol for symbol, share in shares.items() if share < most * (1 - TOLERANCE)]
    written = " ".join(f"{symbol}{amount:g}" for symbol, amount in formula.items())
    found = " ".join(f"{symbol}{amount:g}" for symbol, amount in sites.items())
    if missing:
        problem = f"has the formula {written}, but its sites hold {found}: {', '.join(missing)} is missing"
        raise InputError(path, problem, FIX, code="formula")
    # pymatgen writes the formula of the whole cell beside the number of formula units in it
    is_of_cell = abs(most - 1) <= TOLERANCE and all(
        (amount / (n_units or 1)).is_integer() for amount in formula.values()
    )
    if n_units and most < n_units * (1 - TOLERANCE) and not is_of_cell:
        problem = f"has {n_units:g} formula units {written} in its cell, but its sites hold {found}"
        raise InputError(path, problem, "Check its symmetry operations and sites: " + FIX, code="formula")


def _column(items: dict, key: str) -> list[str]:
    """Values of a loop."""
    values = items.get(key, [])
    return [str(value) for value in (values if isinstance(values, list) else [values])]


def _formula(items: dict) -> dict[str, float]:
    """Atoms by symbol in ``_chemical_formula_sum``, empty where it is missing or cannot be understood."""
    try:
        composition = Composition(str(items.get("_chemical_formula_sum", "")).replace(",", " "))
        return _united((_symbol(element), amount) for element, amount in composition.items())
    except Exception:  # "?", "(C8 H18)n" and anything else: nothing to compare with
        return {}


def _united(pairs: Iterable[tuple[str, float]]) -> dict[str, float]:
    amounts: dict[str, float] = {}
    for symbol, amount in pairs:
        amounts[symbol] = amounts.get(symbol, 0.0) + amount
    return {symbol: amount for symbol, amount in amounts.items() if amount > 0}


def _symbol(element: Any) -> str:
    symbol = element.symbol
    return "H" if symbol in ("D", "T") else symbol


def _number(value: object) -> float | None:
    try:
        return float(str(value).split("(")[0])
    except ValueError:
        return None
