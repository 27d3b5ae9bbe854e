#!/usr/bin/env bash
# Snakemake runs this in the new environment of rho2prop.yaml: GPAW, with the build options of gpaw_siteconfig.py.
set -euo pipefail
config=$(mktemp)
trap 'rm -f "$config"' EXIT
cat >"$config" <<'OPTIONS'
# Build options of GPAW (GPAW_CONFIG points here): serial, FFTW, LibXC, OpenBLAS from Debian.
mpi = False
fftw = True
libraries = ["xc", "openblas", "fftw3"]
OPTIONS
GPAW_CONFIG=$config python -m pip install --no-input --disable-pip-version-check --no-deps gpaw==25.7.0
