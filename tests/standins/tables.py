"""Materials tables that are as large as a test needs, of crystals that cost nothing."""

from pathlib import Path

from pymatgen.core import Lattice, Structure

METALS = ("Li", "Na", "K", "Mg", "Ca", "Al", "Cu", "Ag")


def write_metals(folder: Path) -> list[str]:
    """Names of the files of simple cubic crystals in ``folder``, each a chemical system of its own."""
    for symbol in METALS:
        Structure(Lattice.cubic(3.0), [symbol], [[0, 0, 0]]).to(str(folder / f"{symbol}.cif"))
    return [f"{symbol}.cif" for symbol in METALS]


def write_table(folder: Path, n_rows: int) -> Path:
    """A table of ``n_rows`` such crystals with bulk moduli, and a column for the engine files."""
    files = write_metals(folder)
    rows = [f"m-{i},{files[i % len(files)]},{files[i % len(files)]},{50 + i % 100}" for i in range(n_rows)]
    path = folder / "materials.csv"
    path.write_text("material_id,structure,density,bulk_modulus_gpa\n" + "\n".join(rows) + "\n")
    return path
