"""From the Materials Project to the table of converged materials, through Snakemake, against a local server."""

import gzip
import shutil

import pandas as pd
import pytest
from standins.chain import Run
from standins.mp_materials import CRYSTALS, chgcar, elasticity_document, summary_document
from standins.mp_server import KEY, MaterialsProjectServer
from standins.refusals import lacking

from rho2prop.densities.density import read_npz
from rho2prop.materials.materials_project.snapshot import read_records

CONFIG = """
materials: materials_project
materials_project: {page_size: 2, pause_s: 0, timeout_s: 60, retries: 1, backoff_s: 0, exclude_elements: [C]}
dft:
  engine: materials_project
  min_converged_fraction: 0.5
  materials_project: {machine: {timeout_s: 60, retries: 0, backoff_s: 0}}
"""
IDS = ["mp-22862", "mp-1265", "mp-149", "mp-66"]
SNAPSHOT = "resources/materials_project/snapshot.jsonl.gz"
CHOSEN = "results/materials_project/materials.csv"


def in_folder(folder, config: str = CONFIG) -> Run:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mine.yaml").write_text(config)
    # a flag ends the list of configfiles: what follows are targets
    return Run(folder, ("--configfile", str(folder / "mine.yaml"), "--rerun-incomplete"))


def reach(patch, url: str, key: str | None = KEY) -> None:
    patch.setenv("MP_API_ENDPOINT", url)
    patch.setenv("AWS_ENDPOINT_URL_S3", url)
    patch.delenv("MP_API_KEY", raising=False)
    if key is not None:
        patch.setenv("MP_API_KEY", key)


@pytest.fixture(scope="module")
def fetched_run(tmp_path_factory) -> Run:
    """Four materials: one filtered out, one without a stored density."""
    documents = [elasticity_document(name) for name in IDS], [summary_document(name) for name in IDS]
    densities = {name: chgcar(name) for name in ("mp-22862", "mp-1265")}
    run = in_folder(tmp_path_factory.mktemp("materials_project"))
    with pytest.MonkeyPatch.context() as patch, MaterialsProjectServer(*documents, densities) as server:
        reach(patch, server.url)
        result = run.snakemake("results/materials.csv")
    assert result.returncode == 0, result.stdout[-6000:]
    return run


def test_stored_densities_reach_the_table_of_materials(fetched_run):
    materials = pd.read_csv(fetched_run.folder / "results/materials.csv", index_col="material_id")
    assert set(materials.index) == {"mp-22862", "mp-1265"}
    for name in materials.index:
        assert materials.loc[name, "bulk_modulus_gpa"] == CRYSTALS[name][3]
        density = read_npz(fetched_run.folder / f"results/dft/{name}/density.npz")
        assert density.integral() == pytest.approx(CRYSTALS[name][6], abs=1e-3)
        assert materials.loc[name, "volume_per_atom_ang3"] == pytest.approx(density.volume_ang3 / 2)


def test_what_is_not_there_has_its_reason(fetched_run):
    outcomes = pd.read_csv(fetched_run.folder / "results/dft_outcomes.csv", index_col="material_id")
    assert outcomes["status"].to_dict() == {"mp-22862": "converged", "mp-1265": "converged", "mp-149": "failed"}
    assert "no stored density of mp-149" in outcomes.loc["mp-149", "reason"]
    rejected = pd.read_csv(fetched_run.folder / "results/materials_project/rejected.csv", index_col="material_id")
    assert rejected["reason"].to_dict() == {"mp-66": "excluded elements (C)"}


def test_the_key_is_in_no_file_of_the_run(fetched_run):
    files = [file for file in fetched_run.folder.rglob("*") if file.is_file()]
    assert any(file.suffix == ".log" for file in files)
    assert any(".snakemake" in file.parts for file in files)
    for file in files:
        content = file.read_bytes()
        assert KEY.encode() not in content, file
        if file.suffix == ".gz":
            assert KEY.encode() not in gzip.decompress(content), file


def test_a_run_is_repeated_from_its_snapshot_without_network_and_key(fetched_run, tmp_path, monkeypatch):
    reach(monkeypatch, "http://127.0.0.1:9", key=None)
    again = in_folder(tmp_path)
    (tmp_path / SNAPSHOT).parent.mkdir(parents=True)
    shutil.copy(fetched_run.folder / SNAPSHOT, tmp_path / SNAPSHOT)
    result = again.snakemake(CHOSEN)
    assert result.returncode == 0, result.stdout[-3000:]
    assert (tmp_path / CHOSEN).read_bytes() == (fetched_run.folder / CHOSEN).read_bytes()
    assert not (tmp_path / "logs" / "fetch_materials_project.log").exists()


def test_other_filters_and_paging_fetch_nothing(fetched_run, monkeypatch):
    reach(monkeypatch, "http://127.0.0.1:9", key=None)
    assert "fetch_materials_project" not in fetched_run.snakemake(CHOSEN, "--dry-run").stdout
    changed = in_folder(fetched_run.folder, CONFIG.replace("page_size: 2", "page_size: 7, max_sites: 1"))
    try:
        result = changed.snakemake(CHOSEN, "--dry-run")
    finally:
        in_folder(fetched_run.folder)
    assert result.returncode == 0, result.stdout[-3000:]
    assert "write_materials_project" in result.stdout
    assert "fetch_materials_project" not in result.stdout


def test_without_a_key_one_line_says_so_before_anything_is_asked(tmp_path, monkeypatch):
    with MaterialsProjectServer() as server:
        reach(monkeypatch, server.url, key=None)
        result = in_folder(tmp_path).snakemake(CHOSEN)
        assert server.requests == []
    assert result.returncode != 0
    assert not lacking(result.stdout, "rho2prop: MP_API_KEY")
    assert "Traceback" not in result.stdout
    assert not (tmp_path / SNAPSHOT).exists()


def test_a_lost_service_leaves_no_outcome(fetched_run, tmp_path, monkeypatch):
    reach(monkeypatch, "http://127.0.0.1:9")
    shutil.copytree(fetched_run.folder, tmp_path / "run", ignore=shutil.ignore_patterns(".snakemake", "dft"))
    run = in_folder(tmp_path / "run")
    result = run.snakemake("results/dft/mp-22862")
    assert result.returncode != 0
    assert not lacking(result.stdout, "http://127.0.0.1:9", "attempt")
    assert "Traceback" not in result.stdout
    assert not (tmp_path / "run/results/dft/mp-22862").exists()
    assert len(list(read_records(tmp_path / "run" / SNAPSHOT))) == len(IDS)
