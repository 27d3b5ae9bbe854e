"""How tests set up a machine with the stand-in VASP: program, POTCARs, environment, and what the ledger says."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from standins.potcars import write_potcars
from standins.vasp_faults import FAULTS, LEDGER, STEP_S

PATIENCE_S = 600.0  # bound of every wait: reached only where something hangs


@dataclass(frozen=True)
class Machine:
    """A folder with ``vasp_std``, POTCARs and the ledger, and the environment that belongs to them."""

    folder: Path
    command: str
    environment: dict[str, str]

    @property
    def ledger(self) -> list[dict]:
        """Events of all runs so far, oldest first; a line that is just being written is left out."""
        path = Path(self.environment[LEDGER])
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return [json.loads(line) for line in lines]

    def events(self, event: str, formula: str | None = None, step: str | None = None) -> list[dict]:
        """Events of one name, of one formula and kind of run where asked for."""
        wanted = {"event": event, "formula": formula, "step": step}
        wanted = {key: value for key, value in wanted.items() if value is not None}
        return [line for line in self.ledger if all(line[key] == value for key, value in wanted.items())]


def machine(folder: Path, elements: list[str], faults: dict | None = None, step_s: float = 0.0) -> Machine:
    """Write program and POTCARs into ``folder``; ``faults`` as in vasp_faults.py, ``step_s`` of each SCF step."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "vasp_std"
    tests = Path(__file__).parents[1]
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{tests}" exec "{sys.executable}" -m standins.vasp_std\n')
    program.chmod(0o755)
    write_potcars(folder / "potcars", elements)
    environment = {
        "PMG_VASP_PSP_DIR": str(folder / "potcars"),
        LEDGER: str(folder / "ledger.jsonl"),
        FAULTS: json.dumps(faults or {}),
        STEP_S: str(step_s),
    }
    return Machine(folder, str(program), environment)


def is_running(process: int) -> bool:
    """Whether there is a process with this number that has not ended."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_until(condition: Callable[[], bool], what: str, poll_s: float = 0.02) -> None:
    """Poll until the condition holds; TimeoutError names ``what`` did not come."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {PATIENCE_S:.0f} s for {what}")
        time.sleep(poll_s)
