#!/usr/bin/env bash
# All tests. Those on a Slurm wait most of their time, so they run beside the others; their output comes last.
set -uom pipefail
cd "$(dirname "$0")/.."
.venv/bin/python -m pip install -qq --no-input --disable-pip-version-check -r requirements-graph.txt  # the optional extra
log=$(mktemp)
.venv/bin/python -m pytest tests/hpc --durations 10 >"$log" 2>&1 &
slurm=$!
trap 'kill -INT "$slurm" 2>/dev/null; wait "$slurm"; rm -f "$log"; exit 130' INT TERM
.venv/bin/python -m pytest tests --ignore tests/hpc --durations 25
others_status=$?
wait "$slurm"
slurm_status=$?
cat "$log"
rm -f "$log"
[ "$others_status" -eq 0 ] && [ "$slurm_status" -eq 0 ]
