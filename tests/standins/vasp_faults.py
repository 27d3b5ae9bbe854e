"""Faults that the stand-in VASP makes on request, and the ledger of the steps it did.

RHO2PROP_VASP_FAULTS is JSON, formula to list of faults: {"MgO": ["zbrent-once", "kill-forever@static"]}. A fault is
NAME-once or NAME-forever, with @relax, @static or @atom where it shall hit one kind of run only:

zbrent            line minimisation fails at the second ionic step (only with IBRION = 2, as in VASP)
nelm              no SCF loop converges within NELM
tet               tetrahedron method fails (only with ISMEAR = -5)
kill              SIGKILL by its own hand in the middle
kill-writing      SIGKILL while it writes CHGCAR and WAVECAR: both are cut
walltime          goes on and on until a STOPCAR asks it to stop
frozen            says nothing more and never ends
truncated-chgcar  CHGCAR is cut, everything else looks well
disk-full         a write at the end of the run fails
"""

import json
import os
import re
import time
from pathlib import Path

from standins.vasp_files import parse_formula

FAULTS, LEDGER, STEP_S = "RHO2PROP_VASP_FAULTS", "RHO2PROP_VASP_LEDGER", "RHO2PROP_VASP_STEP_S"
NAMES = ("zbrent", "nelm", "tet", "kill", "kill-writing", "walltime", "frozen", "truncated-chgcar", "disk-full")
ONLY = {"zbrent": "relax", "tet": "static", "truncated-chgcar": "static"}


class Ledger:
    """One JSON line per event, appended whole: what was done outlives a kill of whoever did it."""

    def __init__(self, formula: str, step: str, folder: Path):
        self.common = {"formula": formula, "step": step, "folder": str(folder), "pid": os.getpid()}
        self.path = os.environ.get(LEDGER)
        if self.path is None and os.environ.get(FAULTS):
            raise SystemExit(f"{FAULTS} needs {LEDGER}: what happens once must be remembered")

    def add(self, event: str, **more) -> None:
        """Append one event."""
        if self.path is not None:
            line = json.dumps({**self.common, "event": event, "time": time.time(), **more}) + "\n"
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            os.write(descriptor, line.encode())
            os.close(descriptor)

    def seen(self, event: str) -> bool:
        """Whether this event stands there for this formula and kind of run."""
        if self.path is None or not Path(self.path).exists():
            return False
        lines = [json.loads(line) for line in Path(self.path).read_text().splitlines()]
        keys = ("formula", "step")
        return any(line["event"] == event and all(line[k] == self.common[k] for k in keys) for line in lines)


def due(ledger: Ledger) -> set[str]:
    """Names of the faults that this run must make."""
    names = set()
    for formula, faults in json.loads(os.environ.get(FAULTS) or "{}").items():
        for fault in faults if parse_formula(formula) == ledger.common["formula"] else []:
            match = re.fullmatch(r"(?P<name>[a-z-]+)-(?P<times>once|forever)(@(?P<step>relax|static|atom))?", fault)
            if match is None or match["name"] not in NAMES:
                raise SystemExit(f"{FAULTS}: unknown fault {fault!r}")
            step = match["step"] or ONLY.get(match["name"])
            here = step in (None, ledger.common["step"])
            if here and not (match["times"] == "once" and ledger.seen(f"fault {match['name']}")):
                names.add(match["name"])
    return names
