#!/usr/bin/env bash
# What a job costs the process that submits it: sbatch, status, bookkeeping. As root, in the project's folder:
#   benchmarks/slurm_overhead.sh [jobs, default 1000]
# The jobs go through profiles/slurm and a real Slurm, but end before they start Snakemake again (--precommand), so
# that what is measured is the submitting side, and a small machine can do it. Prints CPU seconds of the submitting
# process and everything it calls (sbatch, squeue), and the wall time, per job.
set -euo pipefail
cd "$(dirname "$0")/.."
jobs=${1:-1000}
export SLURM_SANDBOX=${SLURM_SANDBOX:-${TMPDIR:-/tmp}/slurm-overhead} SLURM_CPUS=16 SLURM_MEM_MB=64000
export SLURM_PORT=${SLURM_PORT:-26817}
run=$SLURM_SANDBOX/run
trap 'tests/hpc/slurm-down.sh --purge' EXIT
tests/hpc/slurm-up.sh
# shellcheck disable=SC1091
source "$SLURM_SANDBOX/env.sh"
mkdir -p "$run"
export TIMEFORMAT='%R %U %S'
{ time .venv/bin/snakemake --profile profiles/slurm --snakefile benchmarks/slurm_overhead.smk --directory "$run" \
    --jobs 1000 --latency-wait 5 --precommand 'exit 0' --config "jobs=$jobs" --quiet all >"$run/out" 2>&1; } 2>"$run/time" \
    || { tail -20 "$run/out"; exit 1; }
[ "$(find "$run/done" -type f | wc -l)" = "$jobs" ] || { echo "not all jobs ended" >&2; exit 1; }
[ "$(squeue --noheader --states=COMPLETED --Format=JobID | wc -l)" -ge "$jobs" ] || { echo "Slurm ran fewer" >&2; exit 1; }
awk -v n="$jobs" '{printf "%d jobs: %.3f s CPU and %.3f s wall per job (%.0f s CPU, %.0f s wall)\n", n, ($2+$3)/n, $1/n, $2+$3, $1}' \
    "$run/time"
