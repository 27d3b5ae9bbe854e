"""Engine "gpaw": plane-wave PAW calculations with the open-source code GPAW (25.7)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import gpaw
import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, ground_state_magnetic_moments
from ase.units import Bohr
from gpaw import fftw
from gpaw.calculator import GPAW as LegacyGPAW  # the density below is read from this class's arrays
from gpaw.lfc import BasisFunctions
from pymatgen.core import Structure
from threadpoolctl import threadpool_limits

from rho2prop.densities.density import Density
from rho2prop.dft.base import Calculation, Task
from rho2prop.dft.failures import EngineError
from rho2prop.dft.gpaw import atom
from rho2prop.dft.gpaw.failures import ground_state_failures, require_datasets
from rho2prop.dft.gpaw.settings import GpawSettings

Settings = GpawSettings
MAGNETIC_ELEMENTS = {"Cr", "Mn", "Fe", "Co", "Ni"}
LARGEST_MOMENT_MUB = {True: 5.0, False: 0.6}  # magnetic element or not, as the Materials Project starts them
_create_plan = fftw.create_plan


def _estimated_plan(in_R: np.ndarray, out_R: np.ndarray, sign: int, flags: int = fftw.ESTIMATE) -> fftw.FFTPlan:
    return _create_plan(in_R, out_R, sign, fftw.ESTIMATE)


# GPAW lets FFTW time several algorithms and take the fastest, a new choice in each process, and has no setting for
# its density grids: energies then differ by up to 1e-6 eV between two runs. Estimated plans give the same bits.
fftw.create_plan = _estimated_plan


def version(settings: GpawSettings) -> str:
    """Version of GPAW."""
    return gpaw.__version__


def compute(task: Task, settings: GpawSettings, work_dir: Path) -> Calculation:
    """Converge the ground state of the structure as it is and read its valence density.

    Parameters
    ----------
    task
        Material.
    settings
        Settings of the engine.
    work_dir
        Folder for GPAW's log, ``gpaw.txt``.
    """
    require_datasets(task.structure.symbol_set, settings.xc)
    atoms = Atoms(
        numbers=task.structure.atomic_numbers,
        cell=task.structure.lattice.matrix,
        scaled_positions=task.structure.frac_coords,
        pbc=True,
    )
    polarised = is_polarised(task.structure, settings.spin)
    if polarised:
        atoms.set_initial_magnetic_moments(initial_moments_mub(task.structure))
    with open(work_dir / "gpaw.txt", "w", encoding="utf-8") as log:
        calculator = LegacyGPAW(
            mode=gpaw.PW(settings.ecut_ev),
            xc=settings.xc,
            kpts={
                "size": k_mesh(task.structure.lattice.matrix, settings.k_spacing_per_ang),
                "gamma": True,
            },
            occupations=gpaw.FermiDirac(settings.smearing_ev),
            spinpol=polarised,
            maxiter=settings.max_iterations,
            txt=log,
        )
        atoms.calc = calculator
        with ground_state_failures(calculator, settings):
            energy_ev = float(atoms.get_potential_energy())
            if not np.isfinite(energy_ev):
                raise FloatingPointError("the energy is not a number")
        moment_mub = float(calculator.get_magnetic_moment()) if polarised else None
        values = valence_density(calculator)
        promolecule = superposed_density(calculator) if settings.promolecule else None
    density = Density(
        values=values.astype(np.float32),
        lattice=np.array(task.structure.lattice.matrix),
        numbers=np.array(task.structure.atomic_numbers, dtype=np.int64),
        frac_coords=np.array(task.structure.frac_coords),
        n_electrons=float(sum(setup.Nv for setup in calculator.setups)),
        kind="valence",
        engine=f"gpaw {gpaw.__version__}",
        promolecule=None if promolecule is None else promolecule.astype(np.float32),
    )
    return Calculation(density, energy_ev, magnetic_moment_mub=moment_mub)


def compute_atom(task: Task, settings: GpawSettings, work_dir: Path) -> Calculation:
    """Energy of one free atom: spin-polarised, occupied by Hund's rules, on the energy scale of ``compute``.

    Parameters
    ----------
    task
        Atom in its box.
    settings
        Settings of the engine.
    work_dir
        Folder for GPAW's log, ``gpaw.txt``.
    """
    require_datasets(task.structure.symbol_set, settings.xc)
    with open(work_dir / "gpaw.txt", "w", encoding="utf-8") as log:
        return atom.ground_state(task, settings, log)


def k_mesh(lattice: np.ndarray, spacing_per_ang: float) -> tuple[int, int, int]:
    """Points of the Γ-centred mesh along each reciprocal vector.

    Parameters
    ----------
    lattice
        Lattice vectors in Å as rows, shape (3, 3).
    spacing_per_ang
        Largest distance of neighbouring points in 1/Å, with the factor 2π (VASP's KSPACING).
    """
    lengths = np.linalg.norm(2 * np.pi * np.linalg.inv(lattice), axis=0)
    # equal lengths that differ by rounding must get equal numbers, or the mesh loses the crystal's symmetry
    counts = np.ceil(lengths / spacing_per_ang - 1e-6)
    nx, ny, nz = np.maximum(counts, 1).astype(int).tolist()
    return nx, ny, nz


def is_polarised(structure: Structure, spin: str) -> bool:
    """Whether to run with spin: "polarised", "none", or "auto" (Cr, Mn, Fe, Co, Ni, or oxygen by itself)."""
    if spin != "auto":
        return spin == "polarised"
    symbols = {site.specie.symbol for site in structure}
    return bool(symbols & MAGNETIC_ELEMENTS) or symbols == {"O"}


def initial_moments_mub(structure: Structure) -> list[float]:
    """Ferromagnetic start in μB: the Materials Project's values, never above the free atom's own moment."""
    elemental_oxygen = {site.specie.symbol for site in structure} == {"O"}
    moments = []
    for number in structure.atomic_numbers:
        magnetic = chemical_symbols[number] in MAGNETIC_ELEMENTS or elemental_oxygen
        moments.append(min(LARGEST_MOMENT_MUB[magnetic], float(ground_state_magnetic_moments[number])))
    return moments


def valence_density(calculator: LegacyGPAW) -> np.ndarray:
    """Valence density with the charge of the augmentation spheres, as VASP's CHGCAR has it.

    ρ = ñ − ñ_core + Σ_a Σ_L Q̄_aL ĝ_aL, with Q̄_a0 = Q_a0 − Δ_a0: Δ_a0 holds the core electrons and the nucleus
    (Enkovaara et al., J. Phys. Condens. Matter 22, 253202 (2010), eqs. of the compensation charges).

    Returns
    -------
    np.ndarray
        e/Å³ on GPAW's fine grid, shape (nx, ny, nz), periodic; integrates to the number of valence electrons.
    """
    density: Any = calculator.density  # None only before the calculation
    pseudo_valence = density.nt_sG.sum(axis=0) - density.nspins * density.nct_G
    values = density.pd2.interpolate(pseudo_valence, density.pd3)[0].copy()
    multipoles = density.Q.calculate(density.D_asp)
    for index, moments in multipoles.items():
        moments[0] -= calculator.setups[index].Delta0
    compensation = density.pd3.zeros()
    density.ghat.add(compensation, multipoles)
    values += density.pd3.ifft(compensation)
    return values / Bohr**3


def with_promolecule(density: Density, ecut_ev: float, xc: str) -> Density:
    """A density from GPAW with the promolecule of GPAW's atoms on the same grid, without an SCF step.

    Parameters
    ----------
    density
        Valence density of this engine.
    ecut_ev, xc
        Plane-wave cut-off in eV and functional that it was computed with: they give the grid and the atoms.

    Raises
    ------
    EngineError
        Another engine's density, or one on another grid than these settings give.
    SetupError
        The datasets of GPAW are not installed.
    """
    if not density.engine.lower().startswith("gpaw"):
        fix = "set dft.files.promolecule: as_given"
        raise EngineError(f"the density is of {density.engine}, whose atoms are not GPAW's: {fix}")
    values, n_electrons = _superposition(density.numbers, density.lattice, density.frac_coords, ecut_ev, xc)
    if values.shape != density.values.shape:
        problem = f"its grid is {density.values.shape}, a cut-off of {ecut_ev:g} eV gives {values.shape}"
        raise EngineError(f"{problem}: set dft.gpaw.ecut_ev to that of the densities")
    if abs(n_electrons - density.n_electrons) > 0.5:
        problem = f"it holds {density.n_electrons:g} electrons, GPAW's atoms {n_electrons:g}"
        raise EngineError(f"{problem}: other datasets were used for it")
    return replace(density, promolecule=values.astype(np.float32))


def atoms_density(structure: Structure, ecut_ev: float, xc: str) -> Density:
    """Promolecule of GPAW's atoms as a density of its own, on the grid that a calculation with this cut-off has.

    Parameters
    ----------
    structure
        Crystal.
    ecut_ev, xc
        Plane-wave cut-off in eV and functional of the free atoms.

    Raises
    ------
    SetupError
        The datasets of GPAW are not installed.
    EngineError
        There is no dataset of an element.
    """
    lattice = np.array(structure.lattice.matrix)
    numbers, coords = np.array(structure.atomic_numbers, dtype=np.int64), np.array(structure.frac_coords)
    values, n_electrons = _superposition(numbers, lattice, coords, ecut_ev, xc)
    return Density(
        values=values.astype(np.float32),
        lattice=lattice,
        numbers=numbers,
        frac_coords=coords,
        n_electrons=n_electrons,
        kind="promolecule",
        engine=f"atoms of gpaw {gpaw.__version__}",
    )


def _superposition(
    numbers: np.ndarray, lattice: np.ndarray, frac_coords: np.ndarray, ecut_ev: float, xc: str
) -> tuple[np.ndarray, float]:
    """Superposed atomic densities in e/Å³, shape (nx, ny, nz), and the number of valence electrons."""
    atoms = Atoms(numbers=numbers, cell=lattice, scaled_positions=frac_coords, pbc=True)
    require_datasets(atoms.symbols, xc)
    calculator = LegacyGPAW(mode=gpaw.PW(ecut_ev), xc=xc, spinpol=False, txt=None)
    with threadpool_limits(limits=1):  # as in a calculation: threads only wait for each other on small matrices
        calculator.initialize(atoms)
        calculator.initialize_positions(atoms)
        values = superposed_density(calculator)
    return values, float(sum(setup.Nv for setup in calculator.setups))


def superposed_density(calculator: LegacyGPAW) -> np.ndarray:
    """Valence density of the superposed free atoms; it replaces the calculator's own density.

    Returns
    -------
    np.ndarray
        e/Å³ on the same grid as ``valence_density`` gives.
    """
    wave_functions: Any = calculator.wfs
    density: Any = calculator.density
    basis = BasisFunctions(
        wave_functions.gd,
        [setup.basis_functions_J for setup in calculator.setups],
        wave_functions.kd,
        dtype=wave_functions.dtype,
        cut=True,
    )
    basis.set_positions(calculator.spos_ac)
    density.mixer.reset()  # or the promolecule is mixed with the history of the self-consistency cycle
    density.initialize_from_atomic_densities(basis)
    return valence_density(calculator)
