"""Memory and time that jobs request first, by the number of materials: the table in docs/cluster.md.

python benchmarks/request_table.py [numbers of labelled materials] [--configfile my.yaml]
"""

import argparse
import sys
from pathlib import Path

import yaml
from snakemake.utils import update_config

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from rho2prop.core.jobs.requests import LEAST_MB, LEAST_MINUTES, REQUESTS  # noqa: E402
from rho2prop.evaluation.plan import Plan  # noqa: E402
from rho2prop.evaluation.requests import RunSize, job_request  # noqa: E402

THREADS = {"write_fingerprints": 8, "write_vasp_inputs": 8}  # as in rules/
FITS = ("lightgbm magpie_fingerprint", "blend total_density", "attention_cnn magpie_latent")


def rows(plan: Plan) -> dict[str, tuple[str, dict[str, str]]]:
    """Label of each row: rule and wildcards."""
    names = ("run_dft", "run_atom", *REQUESTS, "train_autoencoder")
    found: dict[str, tuple[str, dict[str, str]]] = {rule: (rule, {}) for rule in names}
    for fit in FITS:
        model, features = fit.split()
        wildcards = {"model": model, "features": features, "split": plan.main_split}
        rules = ("fit_network",) if model == "attention_cnn" else ("fit_regression",)
        for rule in (*rules, "explain_regression"):
            found[f"{rule}: {fit}"] = rule, wildcards
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("numbers", type=int, nargs="*", default=[500, 6000, 150_000])
    parser.add_argument("--configfile", type=Path)
    arguments = parser.parse_args()
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    if arguments.configfile:
        update_config(config, yaml.safe_load(arguments.configfile.read_text(encoding="utf-8")))
    plan = Plan(config)
    sizes = [RunSize(number, number) for number in arguments.numbers]
    least = f"{LEAST_MB / 1000:.1f} GB, {LEAST_MINUTES / 60:.1f} h"
    print("| rule |", " | ".join(f"{number:,}" for number in arguments.numbers), "|")
    print("|---|" + "---|" * len(sizes))
    for label, (rule, wildcards) in rows(plan).items():
        requests = [job_request(plan, rule, size, THREADS.get(rule, 1), wildcards) for size in sizes]
        cells = [f"{mem_mb / 1000:.1f} GB, {minutes / 60:.1f} h" for mem_mb, minutes in requests]
        if set(requests) != {(LEAST_MB, LEAST_MINUTES)}:
            print(f"| {label} |", " | ".join(cells), "|")
    print("| all others |", " | ".join([least] * len(sizes)), "|")


if __name__ == "__main__":
    main()
