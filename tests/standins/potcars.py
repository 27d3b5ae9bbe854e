"""Files that look like POTCARs and hold none: names and valences are those that pymatgen ships, the body is made up."""

import re
from functools import lru_cache
from pathlib import Path

from monty.serialization import loadfn
from pymatgen.core import Element
from pymatgen.io.vasp.inputs import POTCAR_STATS_PATH, PotcarSingle

MARKER = "NOT-A-POTCAR-MARKER-7f3a91"  # stands in the body of each file: found elsewhere, content of POTCARs has leaked


def write_potcars(folder: Path | str, elements: list[str], functional: str = "PBE_54") -> str:
    """Write a folder for PMG_VASP_PSP_DIR with all variants (Mg, Mg_pv, ...) of the elements; give the marker."""
    target = Path(folder) / PotcarSingle.functional_dir[functional]
    target.mkdir(parents=True, exist_ok=True)
    for title, variants in _known()[functional].items():
        match = re.fullmatch(r"PAW_PBE([A-Z][a-z]?)(\S*?)(\d\d[A-Z][a-z]{2}\d{4})", title)
        if match and match[1] in elements and "_GW" not in match[2]:
            text = _potcar(match[1], f"PAW_PBE {match[1]}{match[2]} {match[3]}", variants[0])
            (target / f"POTCAR.{variants[0]['symbol']}").write_text(text, encoding="utf-8")
    return MARKER


@lru_cache
def _known() -> dict:
    return loadfn(POTCAR_STATS_PATH)


def _potcar(element: str, title: str, known: dict) -> str:
    atom = Element(element)
    enmax_ev = 180.0 + 3.0 * atom.Z  # not shipped with pymatgen, and not the true one
    return f"""  {title}
   {known["ZVAL"]:.10f}
 parameters from PSCTR are:
   VRHFIN ={known["VRHFIN"]}
   LEXCH  = {known["LEXCH"]}
   EATOM  =   {10.0 * known["ZVAL"]:.4f} eV,    1.0000 Ry

   TITEL  = {title}
   LULTRA =        F    use ultrasoft PP ?
   IUNSCR =        1    unscreen: 0-lin 1-nonlin 2-no
   RPACOR =    1.500    partial core radius
   POMASS =  {float(atom.atomic_mass):7.3f}; ZVAL   =  {known["ZVAL"]:7.3f}    mass and valenz
   RCORE  =    2.000    outmost cutoff radius
   RWIGS  =    2.500; RWIGS  =    1.323    wigner-seitz radius (au A)
   ENMAX  =  {enmax_ev:.3f}; ENMIN  =  {0.75 * enmax_ev:.3f} eV
   ICORE  =        2    local potential
   LCOR   =        T    correct aug charges
   LPAW   =        T    paw PP
   EAUG   =  400.000
END of PSCTR-controll parameters
 {MARKER}
 local part
   0.10000000E+01  0.20000000E+01 -0.30000000E+01  0.40000000E+01  0.50000000E+01
 End of Dataset
"""
