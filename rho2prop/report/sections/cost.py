"""Cost of each step of the workflow, and what its jobs took of what they requested."""

from dataclasses import dataclass

import pandas as pd

from rho2prop.core.jobs.requests import TIME_MARGIN
from rho2prop.report.blocks import Figure, Row, Table, Text
from rho2prop.report.data import Run
from rho2prop.report.figures import materials as material_figures
from rho2prop.report.numbers import count, decimals, duration, percentage

FACTOR = 2  # a request that is off by more is named
# Smaller requests are never too much: a core of a cluster comes with about so much memory, a job waits so long.
FLOOR_MB, FLOOR_GPU_MB, FLOOR_MINUTES = 2000, 4000, 60
LITTLE, MUCH = "too little", "too much"


@dataclass(frozen=True)
class Judgement:
    """A request that was off: ``resource`` "memory" or "time", ``word``, share that the most demanding job took."""

    rule: str
    resource: str
    word: str
    share: float


def cost_table(benchmarks: pd.DataFrame) -> pd.DataFrame:
    """Per rule: jobs, wall time, processor time and peak memory, most requested, largest shares; costly rules first."""
    known = benchmarks.assign(
        share_mb=benchmarks["max_rss_mb"] / benchmarks["mem_mb"],
        share_min=benchmarks["wall_s"] / 60 / benchmarks["runtime"],
        floor_mb=FLOOR_MB * benchmarks["threads"].fillna(1) + FLOOR_GPU_MB * (benchmarks["gpu"] > 0),
        is_repeated=benchmarks["attempt"] > 1,
    )
    grouped = known.groupby("rule")
    table = pd.DataFrame(
        {
            "jobs": grouped.size(),
            "wall_s": grouped["wall_s"].sum(),
            "mean_s": grouped["wall_s"].mean(),
            "longest_s": grouped["wall_s"].max(),
            "cpu_s": grouped["cpu_s"].sum(min_count=1),
            "max_rss_mb": grouped["max_rss_mb"].max(),
            "repeated": grouped["is_repeated"].sum(),
        }
        | {name: grouped[name].max() for name in ("mem_mb", "runtime", "share_mb", "share_min", "floor_mb")}
    )
    return table.sort_values("wall_s", ascending=False)


def judgements(table: pd.DataFrame) -> list[Judgement]:
    """Requests that were too little, or more than ``FACTOR`` too much; of time, beyond its margin.

    A rule is judged by the job that took the largest share of its request.
    """
    found = []
    for row in table.itertuples():
        for resource, share, is_small, most in (
            ("memory", row.share_mb, row.mem_mb <= row.floor_mb, FACTOR),
            ("time", row.share_min, row.runtime <= FLOOR_MINUTES, FACTOR * TIME_MARGIN),
        ):
            if share > 1:
                found.append(Judgement(str(row.Index), resource, LITTLE, share))
            elif share < 1 / most and not is_small:
                found.append(Judgement(str(row.Index), resource, MUCH, share))
    return found


def cost_of_steps(run: Run) -> list:
    """Figure and table of the cost of each rule; which requests were off."""
    if run.benchmarks is None or run.benchmarks.empty:
        return [Text("No benchmark files were found, so the cost per step is unknown.", "missing")]
    table = cost_table(run.benchmarks)
    off = judgements(table)
    remarks: dict[str, list[str]] = {}
    for judgement in off:
        remarks.setdefault(judgement.rule, []).append(f"{judgement.resource} {judgement.word}")
    for rule in table.index[table["repeated"] > 0]:
        remarks.setdefault(rule, []).append(f"{count(int(table.loc[rule, 'repeated']), 'job')} repeated")
    rows = [
        Row(
            (
                str(row.Index),
                f"{row.jobs:,}",
                duration(row.wall_s),
                duration(row.cpu_s),
                duration(row.mean_s),
                duration(row.longest_s),
                duration(60 * row.runtime),
                decimals(row.max_rss_mb, 0),
                decimals(row.mem_mb, 0),
                percentage(row.share_mb),
                "; ".join(remarks.get(str(row.Index), ())),
            )
        )
        for row in table.itertuples()
    ]
    sums = duration(table.wall_s.sum()), duration(table.cpu_s.sum(min_count=1))
    total = Row(("all", f"{table.jobs.sum():,}", *sums, *("",) * 7))
    of_time = "wall time, sum", "processor time", "mean", "longest", "requested"
    columns = "rule", "jobs", *of_time, "peak memory / MB", "requested / MB", "used", "remark"
    return [
        Figure(
            "cost-by-rule",
            material_figures.cost_by_rule(table),
            "Cost of each step of the workflow, summed over its jobs.",
            f"Bars of wall and processor time per rule; the costliest is {table.index[0]} "
            f"with {duration(table.wall_s.iloc[0])}.",
        ),
        Table(
            "Cost per step, from Snakemake's benchmark files; rules without such a file cost little. “Requested” is "
            "the most that a job of the rule asked for, “used” the largest share of its requested memory that a job "
            f"took. Too much is more than {FACTOR} times what was used, beside a margin of {TIME_MARGIN:g} in the "
            f"time; requests of up to {FLOOR_MB:,} MB per core ({FLOOR_GPU_MB:,} more with a GPU) or {FLOOR_MINUTES} "
            "min never are.",
            columns,
            (*rows, total),
        ),
        _verdict(table, off),
    ]


def _verdict(table: pd.DataFrame, off: list[Judgement]) -> Text:
    if table["share_mb"].isna().all() and table["share_min"].isna().all():
        return Text("What the jobs requested was not recorded, so requests cannot be judged.", "missing")
    if not off:
        return Text("Requests: none was off by more than that.")
    named = "; ".join(f"{one.rule}: {one.resource} {one.word} ({percentage(one.share)} used)" for one in off)
    fix = "A job that takes more than it requested is stopped by a cluster; too much keeps others waiting"
    return Text(f"⚠ Requests that were off: {named}. {fix} (docs/cluster.md says how to change them).", "note")
