"""What the stand-in VASP reads: INCAR, POSCAR, POTCAR, KPOINTS. Plain numpy, so that a start costs 0.1 s."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

DEFAULTS = {
    "SYSTEM": "unknown system", "PREC": "Normal", "ALGO": "Normal", "ENCUT": 400.0, "EDIFF": 1e-4, "NELM": 60,
    "NELMIN": 2, "NSW": 0, "ISIF": 2, "ISMEAR": 1, "SIGMA": 0.2, "ISPIN": 1, "ISYM": 2, "SYMPREC": 1e-5,
    "POTIM": 0.5, "KSPACING": 0.5, "KGAMMA": True, "LREAL": False, "LCHARG": True, "LWAVE": True, "LAECHG": False,
    "LORBIT": 0, "GGA": "PE", "METAGGA": "--", "LHFCALC": False, "LDAU": False,
}  # fmt: skip


class InputRefused(Exception):
    """Input on which VASP would stop at once; the text is what it prints."""


@dataclass(frozen=True)
class Crystal:
    """POSCAR: lattice in Å as rows, symbols of each atom, fractional coordinates."""

    lattice: np.ndarray
    symbols: list[str]
    frac_coords: np.ndarray

    @property
    def counts(self) -> dict[str, int]:
        """Atoms of each element."""
        return {symbol: self.symbols.count(symbol) for symbol in dict.fromkeys(self.symbols)}

    @property
    def blocks(self) -> list[tuple[str, int]]:
        """Neighbouring atoms of the same element, as VASP counts its atom types."""
        blocks: list[list] = []
        for symbol in self.symbols:
            if blocks and blocks[-1][0] == symbol:
                blocks[-1][1] += 1
            else:
                blocks.append([symbol, 1])
        return [(symbol, count) for symbol, count in blocks]

    @property
    def formula(self) -> str:
        """Elements in alphabetical order with their reduced numbers, e.g. "MgO"."""
        return reduced(self.counts)

    @property
    def volume_ang3(self) -> float:
        """Volume of the cell."""
        return float(abs(np.linalg.det(self.lattice)))


def reduced(counts: dict[str, int]) -> str:
    """Alphabetical reduced formula."""
    divisor = math.gcd(*counts.values())
    return "".join(f"{el}{n // divisor if n > divisor else ''}" for el, n in sorted(counts.items()))


def parse_formula(text: str) -> str:
    """Any formula without brackets, in the form of ``Crystal.formula``."""
    counts: dict[str, int] = {}
    for symbol, number in re.findall(r"([A-Z][a-z]?)(\d*)", text):
        counts[symbol] = counts.get(symbol, 0) + int(number or 1)
    return reduced(counts)


def read_poscar(path: Path) -> Crystal:
    """Read a POSCAR of VASP 5 and later."""
    lines = path.read_text().splitlines()
    if len(lines) < 8:
        raise InputRefused("ERROR: there must be 1 or 3 items on line 2 of POSCAR")
    scale = float(lines[1].split()[0])
    lattice = np.array([[float(x) for x in line.split()[:3]] for line in lines[2:5]])
    lattice = lattice * (scale if scale > 0 else (-scale / abs(np.linalg.det(lattice))) ** (1 / 3))
    counts = [int(x) for x in lines[6].split()]
    symbols = [s for s, n in zip(lines[5].split(), counts, strict=True) for _ in range(n)]
    start = 8 if lines[7].strip().lower().startswith("s") else 7
    rows = np.array([[float(x) for x in line.split()[:3]] for line in lines[start + 1 : start + 1 + len(symbols)]])
    if lines[start].strip().lower()[:1] in ("c", "k"):
        rows = rows @ np.linalg.inv(lattice)
    return Crystal(lattice, symbols, rows)


def read_incar(path: Path) -> dict:
    """INCAR over VASP's defaults; values typed as VASP types them."""
    incar = {}
    for line in path.read_text().splitlines():
        for part in re.split("[;]", re.split("[#!]", line)[0]):
            if "=" in part:
                key, value = (piece.strip() for piece in part.split("=", 1))
                incar[key.upper()] = _typed(key.upper(), value)
    return incar


def _typed(key: str, value: str):
    if key in ("MAGMOM", "FERWE", "FERDO", "LDAUU", "LDAUL", "LDAUJ"):
        numbers = []
        for word in value.split():
            count, _, number = word.rpartition("*")
            numbers += [float(number)] * int(count or 1)
        return numbers
    if re.fullmatch(r"[+-]?\d+", value):
        return int(value)
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eEdD][+-]?\d+)?", value):
        return float(value.lower().replace("d", "e"))
    if re.fullmatch(r"\.?(true|false|t|f)\.?", value.lower()):
        return value.lower().lstrip(".").startswith("t")
    return value


def complete(incar: dict) -> dict:
    """INCAR with VASP's defaults filled in."""
    full = {**DEFAULTS, **incar}
    full.setdefault("IBRION", 0 if full["NSW"] > 1 else -1)
    full.setdefault("EDIFFG", 10 * full["EDIFF"])
    full["ENCUT"] = float(full["ENCUT"])
    return full


@dataclass(frozen=True)
class Potential:
    """One POTCAR: what VASP takes from its header, and its body."""

    title: str
    element: str
    n_valence: float
    body: str


def read_potcar(path: Path, crystal: Crystal) -> list[Potential]:
    """Headers of the POTCAR, one for each block of atoms of the POSCAR, else InputRefused."""
    potentials = []
    for text in path.read_text().split("End of Dataset"):
        if "TITEL" in text:
            title = re.search(r"TITEL\s*=\s*(.+)", text)[1].strip()
            n_valence = float(re.search(r"ZVAL\s*=\s*([\d.]+)", text)[1])
            element = re.match(r"[A-Z][a-z]?", title.split()[1])[0]
            potentials.append(Potential(title, element, n_valence, text.partition("END of PSCTR")[2]))
    wanted = [symbol for symbol, _ in crystal.blocks]
    if [potential.element for potential in potentials] != wanted:
        found = " ".join(potential.element for potential in potentials)
        raise InputRefused(f"ERROR: the POTCAR holds {found}, but the POSCAR {' '.join(wanted)}")
    return potentials


def k_mesh(folder: Path, incar: dict, lattice: np.ndarray) -> tuple[int, int, int]:
    """Γ-centred mesh of KPOINTS or, without that file, of KSPACING."""
    if (folder / "KPOINTS").is_file():
        lines = (folder / "KPOINTS").read_text().splitlines()
        if int(lines[1].split()[0]) != 0:
            return (int(lines[1].split()[0]), 1, 1)
        return tuple(int(x) for x in lines[3].split()[:3])
    lengths = 2 * np.pi * np.linalg.norm(np.linalg.inv(lattice), axis=0)
    return tuple(int(n) for n in np.maximum(1, np.ceil(lengths / incar["KSPACING"] - 1e-6)))
