#!/usr/bin/env bash
# All tests. Those on a Slurm wait most of their time, so they run beside the others; their output comes last.
set -uom pipefail
cd "$(dirname "$0")/.."
.venv/bin/python -m pip install -qq --no-input --disable-pip-version-check -r requirements-graph.txt  # the optional extra
results=$(mktemp -d)
.venv/bin/python -m pytest tests/hpc --durations 10 --junit-xml "$results/slurm.xml" >"$results/log" 2>&1 &
slurm=$!
trap 'kill -INT "$slurm" 2>/dev/null; wait "$slurm"; rm -rf "$results"; exit 130' INT TERM
.venv/bin/python -m pytest tests --ignore tests/hpc --durations 25 --junit-xml "$results/others.xml"
others_status=$?
wait "$slurm"
slurm_status=$?
cat "$results/log"
.venv/bin/python tests/count.py "$results"/*.xml
count_status=$?
rm -rf "$results"
[ "$others_status" -eq 0 ] && [ "$slurm_status" -eq 0 ] && [ "$count_status" -eq 0 ]
