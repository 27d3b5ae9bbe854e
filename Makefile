# make demo | test | check | format | pretrained | setup | clean. All software goes to .venv; nothing else on the
# machine changes, except Debian packages that are missing (installed only as root, named otherwise).
PYTHON ?= python3.11
CORES ?= 2
RUN ?= runs/bench
BIN := .venv/bin
SNAKEMAKE := $(BIN)/snakemake --profile profiles/local --cores $(CORES)

.PHONY: demo test check format pretrained setup clean

demo: setup  ## the whole chain, live, on elemental crystals; report in demo/results
	@$(SNAKEMAKE) --directory demo
	@echo "Report: $(CURDIR)/demo/results/report.html"

test: setup  ## all tests; those on a real Slurm need root
	@bash envs/require_packages.sh chromium munge slurmctld slurmd slurm-client
	@bash tests/run.sh

check: setup  ## style, types and lint
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/snakefmt --check Snakefile rules
	@$(BIN)/mypy
	@$(BIN)/snakemake --lint

format: setup
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/snakefmt Snakefile rules

pretrained: setup  ## the models of a finished run (RUN=runs/bench), checked, in place of the shipped ones
	@$(BIN)/python -m rho2prop.prediction.pretrained "$(RUN)"

setup: .venv/.ready

.venv/.ready: requirements.txt pyproject.toml envs/setup.sh envs/require_packages.sh envs/gpaw_siteconfig.py
	@PYTHON=$(PYTHON) bash envs/setup.sh

clean:
	rm -rf demo .venv
