"""Single rules through the Snakemake command line, on input written by hand."""

import json
import os
import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from pymatgen.core import Lattice, Structure
from safetensors.torch import load_file
from standins.records import seal_in
from standins.refusals import lacking
from standins.rule_run import configured, snakemake
from standins.tables import write_metals
from standins.training import train_on

from rho2prop.autoencoder.encoding import encode_files, read_latents
from rho2prop.autoencoder.request import TrainingSettings
from rho2prop.autoencoder.training import split_80_10_10
from rho2prop.core.jobs.chunks import chunks_of
from rho2prop.crystals.structures import structure_from_density
from rho2prop.densities.density import read_npz, write_npz
from rho2prop.densities.grids import Grid
from rho2prop.features.fingerprint import fingerprint


def test_write_splits_keeps_chemical_systems_together(table):
    options = configured(table, {"evaluation": {"n_folds": 3}})
    result = snakemake(table / "run", "--allowed-rules", "write_splits", *options, "--", "results/splits.csv")
    assert result.returncode == 0, result.stdout
    splits = pd.read_csv(table / "run/results/splits.csv", dtype=str)
    assert set(splits["split"]) == {"random", "formula", "chemical_system", "all"}
    system = {f"m-{i:02d}": i // 4 for i in range(12)}
    rows = splits[splits["split"] == "chemical_system"]
    for _, fold in rows.groupby("fold"):
        parts = fold.groupby(fold["material_id"].map(system))["part"].nunique()
        assert (parts == 1).all()
        assert set(fold["part"]) == {"train", "validation", "test"}


def test_an_installed_package_does_not_replace_that_of_the_clone(table, monkeypatch):
    (table / "installed/rho2prop").mkdir(parents=True)
    (table / "installed/rho2prop/__init__.py").write_text("raise ImportError('not the clone')")
    monkeypatch.setenv("PYTHONPATH", str(table / "installed"))  # searched before site-packages
    options = configured(table, {"evaluation": {"n_folds": 3}})
    result = snakemake(table / "run", "--allowed-rules", "write_splits", *options, "--", "results/splits.csv")
    assert result.returncode == 0, result.stdout


def test_fingerprints_of_chunks_hold_the_statistics_of_each_density_in_the_order_of_the_materials(table, density):
    folder, names, cells = table / "run", [f"m-{i:02d}" for i in range(12)], {}
    for i, name in enumerate(names):
        scale = 1 + i / 100
        cells[name] = replace(density, values=density.values / scale**3, lattice=density.lattice * scale)
        write_npz(cells[name], folder / f"results/dft/{name}/density.npz")
    seal_in(folder, [f"results/dft/{name}" for name in names])
    options = configured(table, {"features": {"chunk_size": 8}})
    target = ("--allowed-rules", "write_fingerprints", "gather_chunks", "--", "results/features/fingerprint.csv")
    result = snakemake(folder, *options, *target)
    assert result.returncode == 0, result.stdout
    parts = sorted(path.stem for path in (folder / "results/chunks/features/fingerprint").glob("*.csv"))
    assert parts == sorted(chunks_of(tuple(names), 8))
    assert len(parts) > 1
    requests = [folder / f"results/benchmarks/write_fingerprints/fingerprint/{part}.json" for part in parts]
    assert all(json.loads(path.read_text()).items() >= {"runtime": 30, "attempt": 1}.items() for path in requests)
    assert not (folder / "results/benchmarks/gather_chunks").exists()
    features = pd.read_csv(folder / "results/features/fingerprint.csv", index_col="material_id")
    assert list(features.index) == names
    expected = fingerprint(cells["m-03"])
    assert list(features.columns) == list(expected)
    np.testing.assert_allclose(features.loc["m-03"], list(expected.values()), rtol=1e-12)


def test_autoencoder_and_latents_are_the_same_on_one_core(table, density):
    folder = table / "run"
    paths = []
    for i in range(12):
        name, scale = f"m-{i:02d}", 1 + i / 100
        squeezed = replace(density, values=density.values / scale**3, lattice=density.lattice * scale)
        paths.append((name, folder / f"results/dft/{name}/density.npz"))
        write_npz(squeezed, paths[-1][1])
    seal_in(folder, [f"results/dft/{name}" for name, _ in paths])
    settings = {"grid": {"size": 32, "voxel_ang": 0.2}, "autoencoder": {"max_epochs": 1, "precision": "fp32"}}
    settings["features"] = {"chunk_size": 8}
    rules = ("write_grids", "train_autoencoder", "encode_latents", "gather_chunks")
    target = ("--allowed-rules", *rules, "--", "results/latents/all.npz")
    result = snakemake(folder, *configured(table, settings), *target)
    assert result.returncode == 0, result.stdout
    record = json.loads((folder / "results/autoencoder/all/model.json").read_text())
    assert record["threads"] == 2
    assert not (folder / "results/grids/total").exists()  # its last reader is done
    again = snakemake(folder, "--dry-run", *configured(table, settings), *target)
    assert not re.search(r"^(rule|write_grids|train_autoencoder)\b", again.stdout, re.MULTILINE), again.stdout

    split = split_80_10_10([name for name, _ in paths], record["seed"])
    grid, out = Grid(**record["grid"]), table / "two cores"
    settings = TrainingSettings(**record["settings"])
    weights = {}
    for threads in (1, 2):
        asked = replace(settings, threads=threads)
        train_on(paths, split, asked, grid, out / str(threads), seed=record["seed"])
        weights[threads] = load_file(out / str(threads) / "model.safetensors")
    found = load_file(folder / "results/autoencoder/all/model.safetensors")
    assert all(torch.equal(found[name], weights[2][name]) for name in found)
    assert not all(torch.equal(found[name], weights[1][name]) for name in found)  # or this test could not fail
    expected, averaged = encode_files(out / "2", paths, grid, 2)
    latents = read_latents(folder / "results/latents/all.npz")
    assert list(latents["material_ids"]) == [name for name, _ in paths]
    np.testing.assert_array_equal(latents["latents"], expected)
    np.testing.assert_array_equal(latents["averaged"], averaged)
    assert len(list((folder / "results/chunks/latents/all").glob("*.npz"))) > 1


def test_a_calculation_that_does_not_converge_is_an_outcome_and_too_many_stop_the_chain(tmp_path):
    structure = Structure(Lattice([[0, 2.02, 2.02], [2.02, 0, 2.02], [2.02, 2.02, 0]]), ["Al"], [[0, 0, 0]])
    structure.to(str(tmp_path / "al.cif"))
    (tmp_path / "materials.csv").write_text("material_id,structure,bulk_modulus_gpa\nAl,al.cif,77\n")
    run = tmp_path / "run"
    hasty = {"ecut_ev": 200, "k_spacing_per_ang": 1.5, "max_iterations": 2}
    options = configured(tmp_path, {"dft": {"gpaw": hasty}})
    result = snakemake(run, *options, "--", "results/materials.csv")
    assert result.returncode != 0
    outcome = json.loads((run / "results/dft/Al/outcome.json").read_text())
    assert outcome["status"] == "failed"
    assert not (run / "results/dft/Al/density.npz").exists()
    assert not lacking(result.stdout, "dft.min_converged_fraction")
    assert outcome["reason"] in result.stdout
    assert not (run / "results/materials.csv").exists()

    options = configured(tmp_path, {"dft": {"gpaw": hasty | {"max_iterations": 60}}})
    again = snakemake(run, *options, "--", "results/dft/Al")
    assert again.returncode == 0, again.stdout
    assert json.loads((run / "results/dft/Al/outcome.json").read_text())["status"] == "converged"


@pytest.mark.parametrize(
    ("settings", "place", "words"),
    [
        ({"evaluation": {"regressions": {"lightgbm": ["magpie_latent"]}}}, "evaluation.regressions", "latent_pca"),
        ({"invariance": {"models": [{"model": "blend", "features": "magpi"}]}}, "invariance.models", "'magpie'?"),
        ({"predict": [{"model": "lightgbm", "features": "no_density"}]}, "predict", "no_density"),
        ({"feature_sets": {"mine": {"extends": "magpi", "add": []}}}, "feature_sets.mine", "'magpie'?"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused_when_it_is_read(table, settings, place, words):
    result = snakemake(table / "run", "--dry-run", *configured(table, settings))
    assert result.returncode != 0
    told = [line for line in result.stdout.splitlines() if line.startswith(place)]
    assert words in "".join(told)
    assert "Traceback" not in result.stdout


@pytest.mark.parametrize(("n_labels", "words"), [(0, "bulk_modulus_gpa"), (6, "10"), (12, "run_dft")])
def test_too_few_labels_are_told_before_any_work(tmp_path, n_labels, words):
    files = write_metals(tmp_path)
    rows = [f"m{i},{files[i % len(files)]},{50 + i if i < n_labels else ''}" for i in range(14)]
    (tmp_path / "materials.csv").write_text("material_id,structure,bulk_modulus_gpa\n" + "\n".join(rows) + "\n")
    result = snakemake(tmp_path / "run", *configured(tmp_path, {}), *(["--dry-run"] if n_labels == 12 else []))
    assert (result.returncode == 0) == (n_labels == 12)
    assert words in result.stdout
    assert not (tmp_path / "run" / "results").exists()


def test_what_needs_no_label_can_be_asked_for_without(tmp_path):
    write_metals(tmp_path)
    (tmp_path / "materials.csv").write_text("material_id,structure\nLi,Li.cif\n")
    result = snakemake(tmp_path / "run", *configured(tmp_path, {}), "--dry-run", "--", "results/vasp_inputs")
    assert result.returncode == 0, result.stdout


def test_one_chemical_system_for_five_folds_is_told_before_any_work(tmp_path):
    files = write_metals(tmp_path)
    rows = [f"m{i},{files[0]},{50 + i}" for i in range(14)]
    (tmp_path / "materials.csv").write_text("material_id,structure,bulk_modulus_gpa\n" + "\n".join(rows) + "\n")
    result = snakemake(tmp_path / "run", *configured(tmp_path, {}))
    assert result.returncode != 0
    assert not lacking(result.stdout, 1, 5, "'formula'")
    assert not (tmp_path / "run" / "results").exists()


def test_a_result_is_made_anew_when_its_input_is_replaced_by_an_older_file(tmp_path, density):
    """Which Snakemake, comparing times, takes for nothing new."""
    density = replace(density, numbers=np.array([14, 14]))  # silicon can have its 8 electrons
    for name, values in (("now", density.values), ("old", density.values[::-1])):
        write_npz(replace(density, values=np.ascontiguousarray(values)), tmp_path / f"{name}.npz")
    os.utime(tmp_path / "old.npz", (10**9, 10**9))
    structure_from_density(density).to(str(tmp_path / "a.vasp"), fmt="poscar")
    (tmp_path / "materials.csv").write_text("material_id,structure,density,bulk_modulus_gpa\na,a.vasp,now.npz,77\n")
    options = (*configured(tmp_path, {"dft": {"engine": "files"}}), "--", "results/dft/a")
    run = tmp_path / "run"
    assert snakemake(run, *options).returncode == 0
    assert "Nothing to be done" in snakemake(run, *options).stdout
    shutil.copy2(tmp_path / "old.npz", tmp_path / "now.npz")
    result = snakemake(run, *options)
    assert result.returncode == 0, result.stdout
    found = read_npz(run / "results/dft/a/density.npz")
    np.testing.assert_array_equal(found.values, read_npz(tmp_path / "old.npz").values)
    assert "Nothing to be done" in snakemake(run, *options).stdout


def test_a_job_refuses_a_result_whose_content_changed_though_size_and_time_did_not(table):
    path = table / "run/results/materials.csv"
    before = path.stat()
    path.write_text(path.read_text().replace("Li-2", "Li-1", 1))
    os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    options = configured(table, {"evaluation": {"n_folds": 3}})
    result = snakemake(table / "run", "--allowed-rules", "write_splits", *options, "--", "results/splits.csv")
    assert result.returncode != 0
    assert not lacking(result.stdout, "results/materials.csv", "SHA-256")
    assert "Traceback" not in result.stdout
    assert not (table / "run/results/splits.csv").exists()
