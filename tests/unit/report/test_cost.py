"""Requests that were off by more than two are named; small ones, and what was not recorded, are not."""

import json
from types import SimpleNamespace

import pytest

from rho2prop.report.blocks import Table
from rho2prop.report.data import read_benchmarks
from rho2prop.report.sections.cost import LITTLE, MUCH, cost_of_steps, cost_table, judgements

HEADER = "s\th:m:s\tmax_rss\tcpu_time\n"


@pytest.fixture
def measured(tmp_path):
    """Write what a job took and was given; judge all so far."""

    def add(rule, *, seconds=600.0, rss_mb=3000.0, number=0, **given):
        folder = tmp_path / rule
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.tsv").write_text(f"{HEADER}{seconds}\t0:10:00\t{rss_mb}\t{seconds}\n")
        if given:
            (folder / f"{number}.json").write_text(json.dumps({"threads": 1, "attempt": 1} | given))
        table = cost_table(read_benchmarks(tmp_path))
        return {(one.rule, one.resource): one.word for one in judgements(table)}

    return add


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"mem_mb": 2900}, LITTLE),
        ({"mem_mb": 3100}, None),
        ({"mem_mb": 5900}, None),
        ({"mem_mb": 6100}, MUCH),
        ({"mem_mb": 6100, "threads": 4}, None),  # eight gigabytes come with four cores
        ({"mem_mb": 6000, "gpu": 1}, None),
        ({"mem_mb": 6100, "gpu": 1}, MUCH),
    ],
)
def test_memory(measured, given, word):
    found = measured("encode_latents", runtime=30, **given)
    assert found == ({("encode_latents", "memory"): word} if word else {})


@pytest.mark.parametrize(
    ("seconds", "minutes", "word"),
    [(7300, 120, LITTLE), (7100, 120, None), (1300, 120, None), (1100, 120, MUCH), (1, 60, None)],
)
def test_time_beyond_its_margin(measured, seconds, minutes, word):
    found = measured("write_grids", seconds=seconds, mem_mb=4000, runtime=minutes)
    assert found == ({("write_grids", "time"): word} if word else {})


def test_a_rule_is_judged_by_the_job_that_took_most(measured):
    measured("fit_regression", rss_mb=500, number=0, mem_mb=8000, runtime=60)
    assert measured("fit_regression", rss_mb=500, number=0, mem_mb=8000, runtime=60)
    assert not measured("fit_regression", rss_mb=5000, number=1, mem_mb=8000, runtime=60)


def test_what_was_not_measured_or_recorded_is_not_judged(measured, tmp_path):
    assert not measured("run_dft", rss_mb="NA", mem_mb=64000, runtime=30)
    assert not measured("run_atom")
    (tmp_path / "run_atom" / "old.tsv").write_text("s\tmax_rss\n5.0\t100\n")
    table = cost_table(read_benchmarks(tmp_path))
    assert table.loc["run_atom", "jobs"] == 2
    assert table.loc["run_dft", "wall_s"] == 600


def test_rules_that_end_after_the_report_are_left_out(measured):
    assert not measured("write_bundle", mem_mb=64000, runtime=30)
    assert measured("predict_properties", mem_mb=64000, runtime=30)


def test_the_table_shows_request_and_share_and_names_what_was_off(measured, tmp_path):
    measured("run_dft", rss_mb=101, mem_mb=90, runtime=30, attempt=2)
    measured("run_dft", rss_mb=50, number=1, mem_mb=90, runtime=30)
    measured("write_grids", seconds=60, rss_mb=1000, mem_mb=1200, runtime=30)
    measured("run_atom")
    blocks = cost_of_steps(SimpleNamespace(benchmarks=read_benchmarks(tmp_path)))
    (table,) = (block for block in blocks if isinstance(block, Table))
    rows = {row.cells[0]: row.cells[6:] for row in table.rows}
    assert rows["run_dft"] == ("30.0 min", "101", "90", "112 %", "memory too little; 1 job repeated")
    assert rows["write_grids"] == ("30.0 min", "1,000", "1,200", "83 %", "")
    assert rows["run_atom"] == ("–", "3,000", "–", "–", "")
    assert "run_dft" in blocks[-1].text
    assert "write_grids" not in blocks[-1].text
