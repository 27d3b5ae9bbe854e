"""Possible numbers of electrons of a density, from the valences of common potentials.

The tables are frozen, so that a reader neither depends on what is installed nor waits for its import;
tests/unit/densities/test_electrons.py makes the first two again from the installed packages and compares.
"""

from functools import cache
from pathlib import Path

import numpy as np

from rho2prop.core.errors import InputError
from rho2prop.crystals.element_tables import symbols
from rho2prop.densities.density import ELECTRON_TOLERANCE, Density

# VASP's PBE, PBE_52, PBE_54 and PBE_64 potentials, by the metadata of pymatgen-core 2026.10.16 (summary_stats of its
# POTCARs); without the fractional hydrogens H.25 to H1.75, which saturate surfaces.
VASP_PBE = """
    H 1; He 2; Li 1,3; Be 2,4; B 3; C 4; N 5; O 6,8; F 7; Ne 8; Na 1,7,9; Mg 2,8,10; Al 3,11; Si 4,10,12; P 5
    S 6; Cl 7; Ar 8; K 7,9; Ca 2,8,10; Sc 3,11; Ti 4,10,12; V 5,11,13; Cr 6,12,14; Mn 7,13,15; Fe 8,14,16
    Co 9,15,17; Ni 10,16,18; Cu 11,17,19; Zn 12,18,20; Ga 3,13,19,21; Ge 4,14,22; As 5,15,23; Se 6,24; Br 7,25
    Kr 8; Rb 7,9; Sr 10; Y 11; Zr 4,12; Nb 11,13; Mo 6,12,14; Tc 7,13,15; Ru 8,14,16; Rh 9,15,17; Pd 10,16,18
    Ag 11,17,19; Cd 12,18,20; In 3,13,21; Sn 4,14,22; Sb 5,15,23; Te 6,24; I 7,25; Xe 8,26; Cs 9; Ba 10
    La 9,11; Ce 11,12; Pr 11,13; Nd 11,14; Pm 11,15; Sm 11,16; Eu 8,9,17; Gd 9,18; Tb 9,19; Dy 9,20; Ho 9,21
    Er 8,9,22; Tm 9,23; Yb 8,9,10,24; Lu 9,25; Hf 4,10,12; Ta 5,11,13; W 6,12,14; Re 7,13,15; Os 8,14,16
    Ir 9,17; Pt 10,16,18; Au 11,17,19; Hg 12,20; Tl 3,13,15,21; Pb 4,14,16,22; Bi 5,15,17,21,23; Po 6,16,18,24
    At 7,17,25; Rn 8,18,26; Fr 9; Ra 10; Ac 9,11; Th 10,12; Pa 11,13; U 14; Np 15; Pu 16; Am 17; Cm 18; Cf 20
"""
# PBE datasets of gpaw-data 1.2.1.
GPAW_PBE = """
    H 1; He 2; Li 1; Be 2; B 3; C 4; N 5; O 6; F 7; Ne 8; Na 1,7; Mg 2,10; Al 3; Si 4; P 5; S 6; Cl 7; Ar 8
    K 9; Ca 10; Sc 11; Ti 12; V 5,13; Cr 6,14; Mn 7,15; Fe 8; Co 9; Ni 10,16,18; Cu 11; Zn 12; Ga 3; Ge 4; As 5
    Se 6; Br 7; Kr 8; Rb 9; Sr 10; Y 11; Zr 12; Nb 5,13; Mo 6,14; Ru 8,16; Rh 9,15; Pd 10,16; Ag 11,17; Cd 12
    In 13; Sn 14; Sb 15; Te 6,16; I 7; Xe 8; Cs 9; Ba 10; La 11; Ce 12; Pr 13; Nd 14; Pm 15; Sm 16; Eu 17
    Gd 18; Tb 19; Dy 20; Ho 21; Er 22; Tm 23; Yb 24; Lu 25; Hf 12; Ta 5,13; W 6,14; Re 13; Os 8,14; Ir 9,15
    Pt 10,16; Au 11; Hg 18; Tl 13; Pb 14; Bi 15; Rn 8
"""
# Norm-conserving ones beyond those: GTH-PBE (Goedecker, Teter, Hutter 1996; Krack 2005) and ONCV (SG15, Schlipf and
# Gygi 2015; PseudoDojo, van Setten et al. 2018), with d10 of p elements or f14 among the valence electrons.
NORM_CONSERVING = """
    Se 16; Br 17; Kr 18; I 17; Xe 18; Hf 26; Ta 27; W 28; Ir 15,17; Hg 12
"""
LARGEST_CHARGE = 4.0  # electrons; more in one cell is not a charged defect
LARGEST_CHARGE_SHARE = 1 / 8  # of the valence electrons: half a spin pair, or a few bands, lie far beyond it
SYMBOLS = symbols()


def parse_table(text: str) -> dict[str, tuple[int, ...]]:
    """Valences by symbol from a table of this module."""
    entries = (entry.split() for line in text.split("\n") for entry in line.split(";") if entry.strip())
    return {symbol: tuple(int(n) for n in numbers.split(",")) for symbol, numbers in entries}


@cache
def valences() -> dict[str, tuple[int, ...]]:
    """Numbers of valence electrons that potentials give an element, by symbol, all tables together."""
    united: dict[str, set[int]] = {}
    for table in (VASP_PBE, GPAW_PBE, NORM_CONSERVING):
        for symbol, numbers in parse_table(table).items():
            united[symbol] = united.get(symbol, set()) | set(numbers)
    return {symbol: tuple(sorted(numbers)) for symbol, numbers in united.items()}


def possible_electrons(counts: dict[str, int]) -> set[int]:
    """Numbers of valence electrons that a neutral cell can have, with one potential per element.

    Parameters
    ----------
    counts
        Atoms in the cell, by symbol. An element without any known potential makes the answer empty.
    """
    totals = {0}
    for symbol, count in counts.items():
        totals = {total + count * valence for total in totals for valence in valences().get(symbol, ())}
    return totals


def check_electrons(density: Density, source: Path | str) -> tuple[str, ...]:
    """Check the number of electrons of a density: remarks for the user, or InputError.

    Parameters
    ----------
    density
        Checked density of any kind, from a file of the user.
    source
        Named in errors.

    Returns
    -------
    tuple[str, ...]
        A charged cell (at most 4 electrons and 1/8 of the valence electrons away from a neutral one), or an element
        without a known potential.

    Raises
    ------
    InputError
        No set of potentials gives this count: a partial density, one spin, all electrons, or of other atoms.
    """
    elements, counts = np.unique([SYMBOLS[number - 1] for number in density.numbers], return_counts=True)
    atoms = dict(zip(elements.tolist(), counts.tolist(), strict=True))
    formula = "".join(f"{symbol}{count if count > 1 else ''}" for symbol, count in atoms.items())
    n_electrons, n_protons = density.n_electrons, int(density.numbers.sum())
    neutral = {n_protons} if density.kind == "all_electron" else possible_electrons(atoms)
    if not neutral:
        unknown = ", ".join(symbol for symbol in atoms if symbol not in valences())
        return (f"no potential of {unknown} is known: its {n_electrons:g} electrons were not checked",)
    nearest = min(sorted(neutral), key=lambda count: abs(count - n_electrons))
    charge = nearest - n_electrons
    if abs(charge) <= ELECTRON_TOLERANCE * max(nearest, 1):
        return ()
    is_all = abs(n_electrons - n_protons) <= ELECTRON_TOLERANCE * n_protons
    if not is_all and abs(charge) <= min(LARGEST_CHARGE, LARGEST_CHARGE_SHARE * nearest):
        return (
            f"holds {n_electrons:g} electrons, a neutral cell of {formula} {nearest}: it seems to be charged "
            f"({charge:+g} e), and the models were trained on neutral cells",
        )
    raise _impossible(density, source, formula, neutral, is_all)


def _impossible(density: Density, source: Path | str, formula: str, neutral: set[int], is_all: bool) -> InputError:
    n_electrons = density.n_electrons
    if density.kind == "all_electron":
        problem = f"integrates to {n_electrons:g} electrons, expected {min(neutral)}, all electrons of {formula}"
        return InputError(
            source, problem, "Give the density of all electrons, or name its kind: kind: valence", code="electrons"
        )
    if is_all:
        problem = f"integrates to {n_electrons:g} electrons, the number of all electrons of {formula}"
        fix = "Give the valence density; a run takes all-electron densities with dft.files.kind: all_electron"
        return InputError(source, problem, fix, code="all_electron")
    shown = ", ".join(map(str, sorted(neutral)[:8])) + (", ..." if len(neutral) > 8 else "")
    problem = (
        f"integrates to {n_electrons:g} electrons, but no set of potentials gives that many valence electrons "
        f"for {formula} (possible: {shown})"
    )
    if any(abs(2 * n_electrons - count) <= ELECTRON_TOLERANCE * count for count in neutral):
        return InputError(
            source, problem, "It may be one spin alone: give the total density, the sum of both spins", code="one_spin"
        )
    if n_electrons < min(neutral):
        fix = "It may be the density of some bands (PARCHG) or a charged cell: give the total density of a neutral one"
        return InputError(source, problem, fix, code="bands")
    return InputError(source, problem, "Check its units, and that its header belongs to this density", code="electrons")
