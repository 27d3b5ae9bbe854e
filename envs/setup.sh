#!/usr/bin/env bash
# Build .venv with the pinned software. Debian packages that GPAW is compiled against are installed as root;
# anyone else is told which are missing.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3.11}

missing=()
for package in gcc libc6-dev libxc-dev libopenblas-dev libfftw3-dev; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if ! command -v "$python" >/dev/null; then
    missing+=(python3.11 python3.11-venv python3.11-dev)
else
    "$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3.11-venv)
    "$python" -c 'import sys, sysconfig, os; sys.exit(not os.path.exists(sysconfig.get_paths()["include"] + "/Python.h"))' \
        || missing+=(python3.11-dev)
fi
if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "setup: these packages are missing: ${missing[*]}" >&2
        echo "setup: install them (on Debian, as root: apt-get install ${missing[*]}), then run make again." >&2
        exit 1
    fi
    echo "setup: installing Debian packages ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

echo "setup: Python packages into .venv (some minutes)"
"$python" -m venv .venv
GPAW_CONFIG=$PWD/envs/gpaw_siteconfig.py .venv/bin/python -m pip install -qq --no-input \
    --disable-pip-version-check -r requirements.txt
.venv/bin/python -m compileall -q rho2prop
.venv/bin/python -c 'import gpaw, lightgbm, matminer, pymatgen, torch'
touch .venv/.ready
