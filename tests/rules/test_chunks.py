"""Features in chunks: a row more computes its own chunk again, and no other."""

import re
from collections import Counter
from pathlib import Path

import pytest
from standins.rule_run import configured, snakemake
from standins.tables import write_table

from rho2prop.core.jobs.chunks import chunks_of

TARGETS = ["results/regression/lightgbm/magpie_fingerprint/random", "results/features/graph.npz"]
TARGETS += ["results/latents/all.npz"]
RULES = ("run_dft", "write_descriptors", "write_fingerprints", "write_graphs", "encode_latents")
NAMES = tuple(f"m-{number}" for number in range(40))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, tuple[str, ...]]:
    """A run of forty materials, all its results of no content but known to Snakemake as finished, and its options."""
    folder = tmp_path_factory.mktemp("chunks")
    write_table(folder, len(NAMES))
    settings = {"dft": {"engine": "files"}, "features": {"chunk_size": 8}, "evaluation": {"splits": ["random"]}}
    run, options = folder / "run", configured(folder, settings)
    for job in planned(run, options):
        for path in (run / name for name in job["output"].split(", ")):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch() if path.suffix else path.mkdir(exist_ok=True)
    result = snakemake(run, "--touch", "--forceall", *options, "--", *TARGETS)
    assert result.returncode == 0, result.stdout
    return run, options


def planned(run: Path, options: tuple[str, ...]) -> list[dict[str, str]]:
    """Rule, output and wildcards of each job of a dry run."""
    result = snakemake(run, "--dry-run", "--quiet", "host", *options, "--", *TARGETS)
    assert result.returncode == 0, result.stdout
    return jobs(result.stdout)


def jobs(output: str) -> list[dict[str, str]]:
    """Rule, output and wildcards of each job of a dry run that has outputs."""
    found = []
    for text in re.split(r"^(?:local)?(?:rule|checkpoint) ", output, flags=re.MULTILINE)[1:]:
        keys = dict(re.findall(r"^ +(output|wildcards): (.*)$", text, flags=re.MULTILINE))
        if "output" in keys:
            found.append({"rule": text.partition(":")[0], **keys})
    return found


def test_nothing_is_to_be_done_in_a_finished_run(finished):
    assert planned(*finished) == []


def test_a_labelled_row_more_runs_its_density_one_chunk_per_block_and_the_fits(finished):
    run, options = finished
    table = run.parent / "materials.csv"
    before = table.read_text()
    table.write_text(before + "new,Li.cif,Li.cif,77\n")
    try:
        found = planned(run, options)
    finally:
        table.write_text(before)
    chunks = chunks_of((*NAMES, "new"), 8)
    (own,) = (chunk for chunk, members in chunks.items() if "new" in members)
    assert set(chunks) == set(chunks_of(NAMES, 8))  # no chunk had to be divided
    assert len(chunks) > 4
    outputs = {rule: [job["output"] for job in found if job["rule"] == rule] for rule in RULES}
    assert outputs["run_dft"] == ["results/dft/new"]
    assert outputs["write_graphs"] == [f"results/chunks/features/graph/{own}.npz"]
    assert outputs["write_fingerprints"] == [f"results/chunks/features/fingerprint/{own}.csv"]
    assert len(outputs["write_descriptors"]) == 1
    assert f"results/chunks/features/magpie/{own}.csv" in outputs["write_descriptors"][0].split(", ")
    assert len(outputs["encode_latents"]) == len(chunks)  # the autoencoder, trained again, is another one
    once = Counter(job["rule"] for job in found)
    assert once["collect_materials"] == once["train_autoencoder"] == once["write_splits"] == 1
    assert once["fit_regression"] == 1


def test_another_label_computes_no_features_again(finished):
    run, options = finished
    table = run.parent / "materials.csv"
    before = table.read_text()
    table.write_text(before.replace("m-7,Ag.cif,Ag.cif,57", "m-7,Ag.cif,Ag.cif,58"))
    assert table.read_text() != before
    try:
        found = {job["rule"] for job in planned(run, options)}
    finally:
        table.write_text(before)
    assert {"collect_materials", "fit_regression"} <= found
    assert not {"run_dft", "write_descriptors", "write_fingerprints", "write_graphs"} & found
