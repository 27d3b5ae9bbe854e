"""The record of what a job requested, beside what Snakemake measured of it.

Apart from the requests themselves: scripts import this module, and a changed request must not repeat them.
"""

import json
import math
from pathlib import Path
from typing import Any

from rho2prop.core.atomic_files import atomic

BENCHMARKS, LOGS = "results/benchmarks", "logs"
ATTEMPT = "attempt"  # a resource of each rule that requests by size
GIVEN = ("mem_mb", "runtime", ATTEMPT, "gpu")  # resources, in MB and minutes
REQUESTED = ("threads", *GIVEN)


def record_request(log: str, threads: int, resources: Any) -> None:
    """Write what a job was given, beside where Snakemake will write what it took; nothing for local rules.

    Parameters
    ----------
    log
        Its log, ``logs/<rule>/<wildcards>.log``, in the folder of the run.
    threads, resources
        As Snakemake hands them to a script.
    """
    if resources.get(ATTEMPT) is None or resources.get("mpi"):  # processes of srun are not measured
        return
    given = {"threads": threads} | {name: resources.get(name) for name in GIVEN}
    with atomic(Path(BENCHMARKS) / Path(log).relative_to(LOGS).with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(given) + "\n", encoding="utf-8")


def read_request(benchmark: Path) -> dict[str, float]:
    """Request of the job of a benchmark file, by the names of ``REQUESTED``; NaN where it is not known."""
    try:
        given = json.loads(benchmark.with_suffix(".json").read_text(encoding="utf-8"))
        return {name: math.nan if given.get(name) is None else float(given[name]) for name in REQUESTED}
    except (OSError, ValueError, TypeError, AttributeError):  # of an earlier version, or written by hand
        return dict.fromkeys(REQUESTED, math.nan)
