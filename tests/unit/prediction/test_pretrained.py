"""The shipped models are replaced by those of a run only if these are whole."""

import shutil

import pytest
from standins.bundle_run import finished_run

from rho2prop.core.errors import InputError
from rho2prop.prediction.bundle.checks import read_manifest
from rho2prop.prediction.pretrained.__main__ import write_pretrained

pytestmark = pytest.mark.slow  # a bundle is written


@pytest.fixture
def run(tmp_path_factory, tmp_path):
    """A small finished run."""
    shutil.copytree(finished_run(tmp_path_factory)[1], tmp_path / "run" / "results" / "models")
    (tmp_path / "run" / "results" / "models" / ".snakemake_timestamp").touch()
    return tmp_path / "run"


@pytest.fixture
def shipped(tmp_path):
    (tmp_path / "shipped").mkdir()
    (tmp_path / "shipped" / "of_before.txt").touch()
    return tmp_path / "shipped"


def test_a_whole_bundle_replaces_the_shipped_one(run, shipped):
    write_pretrained(run, shipped)
    assert not (shipped / "of_before.txt").exists()
    assert read_manifest(shipped) == read_manifest(run / "results" / "models")
    assert not list(shipped.rglob(".*"))


@pytest.mark.parametrize("damaged", ["reference.npz", "manifest.json"])
def test_a_damaged_bundle_leaves_the_shipped_one(run, shipped, damaged):
    path = run / "results" / "models" / damaged
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError):
        write_pretrained(run, shipped)
    assert [file.name for file in shipped.iterdir()] == ["of_before.txt"]
