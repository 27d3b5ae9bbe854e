"""One small run of the whole chain, live GPAW included, that the tests of this folder look at."""

import pytest
from standins.chain import Run


@pytest.fixture(scope="session")
def elements_run(tmp_path_factory) -> Run:
    """The embedded set, few and small: real SCF densities, every stage, every kind of model."""
    run = Run(
        tmp_path_factory.mktemp("elements"), ("--configfile", ".test/config/config.yaml", "tests/workflow/graph.yaml")
    )
    result = run.snakemake()
    assert result.returncode == 0, result.stdout[-6000:]
    return run
