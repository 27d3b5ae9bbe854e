"""The script that checks and times a GPU, tried on a CPU with tiny sizes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rho2prop.autoencoder.network import AutoencoderConfig, build_autoencoder

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]


def test_all_parts_run_and_the_devices_agree(tmp_path):
    sizes = ["--size=16", "--threads=1", "--batch=2", "--grids=8", "--steps=2", "--copy-mb=10"]
    command = [sys.executable, "benchmarks/gpu.py", "--device=cpu", *sizes, f"--out={tmp_path / 'gpu.json'}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    child = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, env=environment)
    assert child.returncode == 0, child.stderr
    results = json.loads((tmp_path / "gpu.json").read_text())
    assert results == [json.loads(line) for line in child.stdout.splitlines()]
    by_part = {(result["part"], result.get("precision")): result for result in results}
    for name in ("autoencoder", "cnn"):
        agreed = by_part["agreement", None][name]
        assert len(agreed["losses_cpu"]) == 5
        assert agreed["losses_cpu"][-1] < agreed["losses_cpu"][0]
        assert agreed["largest_difference"] < 1e-5  # the same device twice
    steps = [by_part["resident", precision] for precision in ("fp32", "bf16")]
    network = build_autoencoder(AutoencoderConfig("paper", 16, 2))
    weights_gb = 10 * 4 * sum(weight.numel() for weight in network.parameters()) / 1e9
    # activations take half of the bytes in bf16, weights the same
    assert 2 * steps[1]["step_gb"] - steps[0]["step_gb"] == pytest.approx(weights_gb)
    limit = by_part["bandwidth", None]["gb_s"]
    for step in steps:
        assert step["share_of_bandwidth"] == pytest.approx(step["step_gb"] / step["seconds_a_step"] / limit)
    assert [by_part["epoch", precision]["n_steps"] for precision in ("fp32", "bf16")] == [3, 3]


def test_a_machine_without_a_gpu_is_told(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    child = subprocess.run(
        [sys.executable, "benchmarks/gpu.py", f"--out={tmp_path / 'gpu.json'}"],
        cwd=ROOT, text=True, capture_output=True, env=environment,
    )  # fmt: skip
    assert child.returncode == 2
    assert not (tmp_path / "gpu.json").exists()
