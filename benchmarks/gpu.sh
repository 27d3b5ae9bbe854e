#!/usr/bin/env bash
# Networks of config/latentmatfusion.yaml on one GPU, at most ten minutes on an H100. In the project's folder:
#   benchmarks/gpu.sh [output folder, default gpu]
# Needs python3 (or PYTHON) of 3.11 or later with a torch for CUDA. What else is missing is installed into an
# environment in the output folder, from the wheels in the folder WHEELS where the machine has no network:
#   python3 -m pip download --only-binary=:all: --no-deps -d wheels PACKAGE==VERSION ...   (versions: requirements.txt)
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(realpath -m "${1:-gpu}") python=${PYTHON:-python3}
needed=(lightning-fabric safetensors ase pymatgen psutil pandas scikit-learn scipy tqdm pyyaml jsonschema)
mkdir -p "$out"
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
if ! "$python" -c "import rho2prop.autoencoder.training, rho2prop.models.attention_cnn" 2>/dev/null; then
    "$python" -m venv --system-site-packages "$out/venv" # with the torch that is there
    python=$out/venv/bin/python
    if [ -n "${WHEELS:-}" ]; then
        "$python" -m pip install --quiet --no-index --no-deps "$WHEELS"/*.whl
    else
        "$python" -m pip install --quiet "${needed[@]}"
    fi
fi
# The test suite has no test that needs a GPU (none may be skipped): benchmarks/gpu.py makes these checks itself.
timeout 540 "$python" benchmarks/gpu.py --out "$out/gpu.json" | tee "$out/gpu.log"
