#!/usr/bin/env bash
# Build .venv with the pinned software. Debian packages that GPAW is compiled against are installed as root;
# anyone else is told which are missing.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3.11}

needed=(gcc libc6-dev libxc-dev libopenblas-dev libfftw3-dev)
if ! command -v "$python" >/dev/null; then
    needed+=(python3.11 python3.11-venv python3.11-dev)
else
    "$python" -c 'import ensurepip, venv' 2>/dev/null || needed+=(python3.11-venv)
    "$python" -c 'import sys, sysconfig, os; sys.exit(not os.path.exists(sysconfig.get_paths()["include"] + "/Python.h"))' \
        || needed+=(python3.11-dev)
fi
bash envs/require_packages.sh "${needed[@]}"

echo "setup: Python packages into .venv (some minutes)"
"$python" -m venv .venv
GPAW_CONFIG=$PWD/envs/gpaw_siteconfig.py .venv/bin/python -m pip install -qq --no-input \
    --disable-pip-version-check -r requirements.txt
# the command `rho2prop`, from this checkout
.venv/bin/python -m pip install -qq --no-input --disable-pip-version-check --no-deps --no-build-isolation -e .
.venv/bin/python -m compileall -q rho2prop
.venv/bin/python -c 'import gpaw, lightgbm, matminer, pymatgen, torch'
touch .venv/.ready
