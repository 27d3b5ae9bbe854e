"""Free atoms with GPAW: spin-polarised, occupied by Hund's rules, in a non-cubic box at Γ."""

from dataclasses import dataclass
from typing import TextIO

import gpaw
from ase import Atoms
from gpaw.calculator import GPAW as LegacyGPAW

from rho2prop.dft.base import Calculation, Task
from rho2prop.dft.failures import EngineError
from rho2prop.dft.gpaw.failures import ground_state_failures
from rho2prop.dft.gpaw.settings import GpawSettings


@dataclass(frozen=True)
class Attempt:
    """One way to the ground state of an atom, with its entry in the record.

    Parameters
    ----------
    parameters
        Keywords of GPAW.
    correction
        Difference from the first attempt; empty for the first.
    changes_protocol
        Whether the energy no longer means that of integer occupations.
    """

    parameters: dict
    correction: str = ""
    changes_protocol: bool = False


def attempts(smearing_ev: float) -> list[Attempt]:
    """Attempts in order; all keep the moment of Hund's rules.

    In GGA an occupied d level may lie above an empty one: the self-consistency cycle then swaps occupations endlessly,
    while direct minimisation keeps them (Ivanov et al., Comput. Phys. Commun. 267, 108047 (2021)). Where that finds no
    minimum (Ti, V, Ni), occupations are smeared and both spins are mixed gently as one vector.
    """
    davidson = {"name": "dav", "niter": 2}
    return [
        Attempt({"eigensolver": davidson, "occupations": _occupations(0.0)}),
        Attempt(
            {
                "eigensolver": {"name": "etdm-fdpw"},
                "occupations": {"name": "fixed-uniform"},
                "mixer": {"backend": "no-mixing"},
            },
            "self-consistency cycle → direct minimisation",
        ),
        Attempt(
            {
                "eigensolver": davidson,
                "occupations": _occupations(smearing_ev),
                "mixer": {"backend": "pulay", "method": "fullspin", "beta": 0.05, "nmaxold": 8},
            },
            f"integer occupations → Fermi-Dirac {smearing_ev} eV at fixed moment",
            changes_protocol=True,
        ),
    ]


def _occupations(width_ev: float) -> dict:
    return {"name": "fermi-dirac", "width": width_ev, "fixmagmom": True}


def ground_state(task: Task, settings: GpawSettings, log: TextIO) -> Calculation:
    """Energy and moment of the atom of ``task`` by the first attempt that converges.

    Parameters
    ----------
    task
        Atom in its box (``rho2prop.dft.base.atom_in_box``).
    settings
        Settings of the engine.
    log
        GPAW's log of all attempts.

    Raises
    ------
    EngineError
        No attempt converged.
    """
    corrections, protocol_changes = [], []
    for attempt in attempts(settings.smearing_ev):
        if attempt.correction:
            corrections.append(attempt.correction)
        if attempt.changes_protocol:
            protocol_changes.append(attempt.correction)
        atom = Atoms(
            numbers=task.structure.atomic_numbers,
            cell=task.structure.lattice.matrix,
            scaled_positions=task.structure.frac_coords,
            pbc=True,
        )
        atom.calc = LegacyGPAW(
            mode=gpaw.PW(settings.ecut_ev),
            xc=settings.xc,
            kpts=(1, 1, 1),
            hund=True,
            symmetry="off",  # an open shell has less symmetry than its box
            maxiter=settings.max_iterations,
            txt=log,
            **attempt.parameters,
        )
        try:
            with ground_state_failures(atom.calc, settings):
                energy_ev = float(atom.get_potential_energy())
        except EngineError:
            continue
        moment_mub = float(atom.calc.get_magnetic_moment())
        return Calculation(None, energy_ev, corrections, protocol_changes, moment_mub)
    reason = f"GPAW did not converge the atom within {settings.max_iterations} iterations in any of the attempts: "
    reason += "raise dft.gpaw.max_iterations, smearing_ev or atom_box_ang, or set dft.atomization_energy to table"
    raise EngineError(reason, corrections, protocol_changes)
