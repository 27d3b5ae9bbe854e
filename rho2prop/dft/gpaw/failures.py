"""Failures of GPAW: missing datasets, SCF cycles that do not converge."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import gpaw
import numpy as np
from ase.data import atomic_numbers
from gpaw.calculator import GPAW as LegacyGPAW
from gpaw.utilities import AtomsTooClose
from gpaw.xc import XC

from rho2prop.dft.failures import EngineError, SetupError
from rho2prop.dft.gpaw.settings import GpawSettings

# for which GPAW's own sets (gpaw-data, gpaw-setups) hold a dataset: H to Rn without these
FIRST_WITHOUT = 87
WITHOUT = {"Tc", "Po", "At"}
# numpy: "Eigenvalues did not converge", scipy: "not positive definite" (GPAW: "Too few plane waves or grid points")
DIVERGED = (np.linalg.LinAlgError, FloatingPointError)
NOT_FINITE = "must not contain infs or NaNs"
FEWEST_POINTS = 8  # along each edge; with less GPAW's Fourier transforms fail
GENTLER = (
    "raise dft.gpaw.smearing_ev (0.2) or dft.gpaw.max_iterations, try another dft.gpaw.spin, and check the structure"
)


def require_datasets(symbols: Iterable[str], xc: str) -> None:
    """Raise an error before the calculation if GPAW lacks the dataset of an element.

    Raises
    ------
    EngineError
        None of GPAW's sets has this element: the material cannot be computed.
    SetupError
        The set should hold it, but it is not installed here.
    """
    folders = [Path(folder) for folder in gpaw.setup_paths]
    try:
        name = XC(xc).get_setup_name()  # several functionals use the datasets of one
    except (NameError, ValueError) as error:
        raise SetupError("dft.gpaw.xc", f"GPAW knows no functional {xc!r} ({error})", "Set it to PBE") from error
    missing = [s for s in sorted(set(symbols)) if not any(list(folder.glob(f"{s}.{name}*")) for folder in folders)]
    if not missing:
        return
    unknown = [symbol for symbol in missing if symbol in WITHOUT or atomic_numbers[symbol] >= FIRST_WITHOUT]
    if unknown:
        problem = f"GPAW has no {name} dataset for {', '.join(unknown)}"
        raise EngineError(f"{problem}: remove the material or use another engine")
    problem = (
        f"has no {name} dataset for {', '.join(missing)} (searched: {', '.join(map(str, folders)) or 'no folder'})"
    )
    fix = "Install gpaw-data, or set GPAW_SETUP_PATH to the folder of the datasets (gpaw install-data)"
    raise SetupError("GPAW", problem, fix)


@contextmanager
def ground_state_failures(calculator: LegacyGPAW, settings: GpawSettings) -> Iterator[None]:
    """Turn errors of GPAW that mean that a material has no ground state into EngineError; let others pass.

    Parameters
    ----------
    calculator
        Calculator of the calculation in the block.
    settings
        Settings of the engine.
    """
    try:
        yield
    except Exception as error:
        reason = _reason(error, calculator, settings)
        if reason is None:
            raise
        raise EngineError(reason) from error


def _reason(error: Exception, calculator: LegacyGPAW, settings: GpawSettings) -> str | None:
    """Reason for a missing ground state and its fix; None if the error says nothing about the material."""
    detail = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, AtomsTooClose):
        return f"GPAW found atoms whose spheres overlap too far ({detail}): check lattice and coordinates"
    if isinstance(error, gpaw.ConvergenceError):
        if "Not enough bands" in detail:
            return f"GPAW has too few bands for this material ({detail}): {GENTLER}"
        detail = "see gpaw.txt" if "See text output" in detail else detail
        return f"GPAW did not converge within {settings.max_iterations} iterations ({detail}): {GENTLER}"
    if isinstance(error, DIVERGED) or isinstance(error.__cause__, DIVERGED) or NOT_FINITE in detail:
        return f"GPAW's self-consistency cycle ran away from any solution ({detail}): {GENTLER}"
    grid = getattr(getattr(calculator, "wfs", None), "gd", None)
    if isinstance(error, ValueError) and grid is not None and min(grid.N_c) < FEWEST_POINTS:
        points = " × ".join(str(n) for n in grid.N_c)
        return f"its cell is too narrow for GPAW ({points} grid points): check the lattice, or raise dft.gpaw.ecut_ev"
    return None
