"""What a job was given is recorded beside its benchmark file."""

import json
import math
from pathlib import Path

import pytest

from rho2prop.core.jobs.request_record import read_request, record_request

GIVEN = {"mem_mb": 2000, "runtime": 30, "attempt": 2}


@pytest.mark.parametrize("name", ["write_bundle", "run_dft/m-1.v2", "fit_regression/mean/none/all"])
def test_a_request_is_read_beside_the_benchmark_file(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    record_request(f"logs/{name}.log", 4, GIVEN | {"gpu": 1})
    found = read_request(Path(f"results/benchmarks/{name}.tsv"))
    assert found == {"threads": 4, "mem_mb": 2000, "runtime": 30, "attempt": 2, "gpu": 1}
    record_request(f"logs/{name}.log", 4, GIVEN)
    assert math.isnan(read_request(Path(f"results/benchmarks/{name}.tsv"))["gpu"])


@pytest.mark.parametrize("resources", [{"mem_mb": 1000}, GIVEN | {"mpi": "srun"}])
def test_local_rules_and_ranks_of_srun_leave_no_record(resources, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    record_request("logs/write_splits.log", 1, resources)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "{", "[1]", json.dumps({"mem_mb": "much"}), None])
def test_a_missing_or_broken_record_is_unknown(content, tmp_path):
    if content is not None:
        (tmp_path / "a.json").write_text(content)
    assert all(math.isnan(value) for value in read_request(tmp_path / "a.tsv").values())
