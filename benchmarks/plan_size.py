"""Time and memory of planning a run of N materials: ``python benchmarks/plan_size.py 150000 --folder /scratch/plan``.

Writes a table of N materials with a structure file each (links to eight crystals), of which some have labels, and
starts ``snakemake -n`` on it, engine ``atoms``. Prints rows, jobs, wall and CPU seconds, and peak memory. A table that
is there is used again.
"""

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pymatgen.core import Lattice, Structure

ROOT = Path(__file__).parents[1]
METALS = ("Li", "Na", "K", "Mg", "Ca", "Al", "Cu", "Ag")
HEADER = "material_id,structure,bulk_modulus_gpa,shear_modulus_gpa\n"


def write_inputs(folder: Path, n_rows: int, n_labelled: int) -> Path:
    """Table of ``n_rows`` materials, spread over which ``n_labelled`` have labels, with a file for each."""
    table = folder / "materials.csv"
    if table.is_file():
        return table
    structures = folder / "structures"
    structures.mkdir(parents=True)
    for symbol in METALS:
        Structure(Lattice.cubic(3.0), [symbol], [[0, 0, 0]]).to(str(folder / f"{symbol}.cif"))
    rows = []
    for i in range(n_rows):
        name = f"structures/mp-{i}.cif"
        os.link(folder / f"{METALS[i % len(METALS)]}.cif", folder / name)
        is_labelled = (i + 1) * n_labelled // n_rows > i * n_labelled // n_rows
        rows.append(f"mp-{i},{name}," + (f"{50 + i % 100},{30 + i % 50}\n" if is_labelled else ",\n"))
    table.write_text(HEADER + "".join(rows), encoding="utf-8")
    return table


def dry_run(folder: Path, table: Path, *options: str) -> str:
    """Output of ``snakemake -n`` in ``folder``."""
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/local", "--directory", str(folder / "run")]
    settings = ["--config", f"materials={table}", "dft={engine: atoms}"]
    result = subprocess.run([*command, "-n", "--quiet", "rules", *settings, *options], cwd=ROOT, text=True, stdout=-1)
    if result.returncode:
        sys.exit(result.stdout)
    return result.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", type=int)
    parser.add_argument("--labelled", type=int, default=5000)
    parser.add_argument("--folder", type=Path, help="where the table is kept; a temporary folder if not given")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        table = write_inputs(folder, arguments.rows, min(arguments.labelled, arguments.rows))
        start = time.perf_counter()
        output = dry_run(folder, table)
        wall_s = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    jobs = re.search(r"^total +(\d+)", output, re.MULTILINE)
    print(f"rows {arguments.rows}, labelled {arguments.labelled}, jobs {jobs[1] if jobs else 'none'}, ", end="")
    print(f"wall {wall_s:.1f} s, CPU {used.ru_utime + used.ru_stime:.1f} s, peak {used.ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
