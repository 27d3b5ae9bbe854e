"""The whole chain on real input."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from standins.chain import ROOT, Run
from standins.refusals import lacking
from standins.report_run import Page
from standins.tables import write_table

from rho2prop.densities.density import read_npz, write_npz
from rho2prop.prediction.bundle.reader import load_bundle


def test_every_element_converged_with_its_valence_electrons(elements_run):
    outcomes = pd.read_csv(elements_run.folder / "results/dft_outcomes.csv", keep_default_na=False)
    assert set(outcomes["status"]) == {"converged"}
    expected = {"Li": 1, "Be": 2, "C": 4, "Na": 7, "Mg": 10, "Al": 3}
    for name, electrons_per_atom in expected.items():
        density = read_npz(elements_run.folder / f"results/dft/{name}/density.npz")
        assert density.integral() == pytest.approx(electrons_per_atom * len(density.numbers), rel=1e-5), name


def test_metrics_have_every_model_and_follow_from_the_predictions(elements_run):
    metrics = pd.read_csv(elements_run.folder / "results/metrics.csv", dtype={"fold": str})
    assert list(metrics.columns) == [
        "target", "features", "model", "split", "fold", "n_train", "n_test", "r2", "mae", "rmse"
    ]  # fmt: skip
    assert set(metrics["target"]) == {"bulk_modulus_gpa"}
    assert set(metrics["split"]) == {"random", "chemical_system"}
    networks = {"attention_cnn", "multiscale_cnn", "multiscale_cnn_single", "graph_network"}
    assert {"mean", "lightgbm", "gaussian_process", "blend"} | networks == set(metrics["model"])
    folder = elements_run.folder / "results/regression/lightgbm/magpie_fingerprint/random"
    predictions = pd.read_csv(folder / "predictions.csv", dtype={"fold": str}, keep_default_na=False)
    for fold, rows in predictions.groupby("fold"):
        row = metrics.query("model == 'lightgbm' and features == 'magpie_fingerprint' and split == 'random'")
        row = row[row["fold"] == fold].iloc[0]
        assert row["mae"] == pytest.approx(np.abs(rows["y_true"].astype(float) - rows["y_pred"].astype(float)).mean())
        assert row["n_test"] == len(rows)


def test_the_learning_curve_has_the_sizes_that_there_are(elements_run):
    curve = pd.read_csv(elements_run.folder / "results/learning_curve.csv", dtype={"size": str})
    assert set(curve["size"]) == {"8", "all"}  # the folds have no 400 materials
    assert (curve.loc[curve["size"] == "8", "n_train"] == 8).all()


def test_the_deformation_density_is_reconstructed_beside_the_density(elements_run):
    errors = pd.read_csv(elements_run.folder / "results/reconstruction.csv").groupby("method")["nmae"].mean()
    assert {"autoencoder", "fourier", "deformation_autoencoder", "deformation_fourier"} <= set(errors.index)
    assert errors["deformation_fourier"] < errors["fourier"]  # both relative to the density: what atoms hold is known


def test_no_description_of_a_crystal_moves_a_prediction(elements_run):
    table = pd.read_csv(elements_run.folder / "results/invariance.csv", keep_default_na=False)
    assert {"blend", "lightgbm", "attention_cnn"} == set(table["model"])
    same_points = table["transformation"].str.contains("points|rotation|supercell")
    assert table.loc[same_points, "relative_change"].abs().max() < 1e-4
    assert table["relative_change"].abs().max() < 0.005


def test_each_material_is_tested_exactly_once_per_split(elements_run):
    splits = pd.read_csv(elements_run.folder / "results/splits.csv", dtype=str, keep_default_na=False)
    materials = pd.read_csv(elements_run.folder / "results/materials.csv", dtype=str, keep_default_na=False)
    tested = splits[splits["part"] == "test"]
    for _, rows in tested.groupby("split"):
        assert sorted(rows["material_id"]) == sorted(materials["material_id"])


def is_shown(cell: str, value: float) -> bool:
    """Whether "mean ± deviation" is the rounded value."""
    text = cell.partition(" ± ")[0].replace("−", "-")
    return abs(float(text) - value) <= 0.51 * 10.0 ** -len(text.partition(".")[2])


def test_report_is_self_contained_and_shows_the_numbers_of_the_metrics(elements_run):
    page = Page((elements_run.folder / "results/report.html").read_text())
    fetched = [attributes["src"] for _, attributes in page.elements if "src" in attributes]
    fetched += [attributes["href"] for tag, attributes in page.elements if tag == "link"]
    assert fetched
    assert all(source.startswith("data:") for source in fetched)
    cells = [row[2:5] for row in page.rows("properties") if len(row) == 6 and all(" ± " in cell for cell in row[2:5])]
    metrics = pd.read_csv(elements_run.folder / "results/metrics.csv")
    metrics = metrics[metrics["split"] == "chemical_system"]
    means = metrics.groupby(["target", "model", "features"])[["r2", "mae", "rmse"]].mean()
    assert len(means) > 5
    for key, scores in means.iterrows():
        assert any(all(map(is_shown, row, scores)) for row in cells), (key, scores)


def test_a_second_run_has_nothing_to_do(elements_run):
    result = elements_run.snakemake()
    assert result.returncode == 0
    assert "Nothing to be done" in result.stdout


def test_another_machine_redoes_nothing(elements_run, tmp_path):
    machine = {name: {"machine": {"polling_s": 1.0, "ranks": 7} if name == "vasp" else {"retries": 9}}
               for name in ("vasp", "materials_project")}  # fmt: skip
    (tmp_path / "machine.yaml").write_text(yaml.safe_dump({"dft": machine}))
    result = Run(elements_run.folder, (*elements_run.options, str(tmp_path / "machine.yaml"))).snakemake("--dry-run")
    assert result.returncode == 0, result.stdout[-3000:]
    assert "Nothing to be done" in result.stdout


def test_snakemake_report(elements_run, tmp_path):
    result = elements_run.snakemake("--report", str(tmp_path / "report.html"))
    assert result.returncode == 0, result.stdout[-3000:]
    assert "target_distributions" in (tmp_path / "report.html").read_text()


def test_twelve_materials_get_a_report_in_which_the_network_is_left_out(elements_run, tmp_path):
    """Of the ten that remain beside a test part one validates: too few for a network, which is the first to predict."""
    shutil.copytree(elements_run.folder, tmp_path / "run")
    unused = ("gaussian_process", "multiscale_cnn", "multiscale_cnn_single", "graph_network")
    regressions = {"lightgbm": ["magpie_fingerprint"], "blend": ["total_density"], "attention_cnn": ["magpie_latent"]}
    chosen = [{"model": model, "features": sets[0]} for model, sets in regressions.items()]
    config = {
        "elements": {"max_atomic_number": 19},
        "autoencoder": {"compared_fields": []},
        "evaluation": {
            "splits": ["chemical_system"],
            "n_folds": 5,
            "validation_fraction": 0.15,
            "regressions": regressions | {model: [] for model in unused},
        },
        "learning_curve": {"sizes": [9], "models": [chosen[0]]},
        "predict": chosen[::-1],
        "invariance": {"models": chosen},
    }
    (tmp_path / "twelve.yaml").write_text(yaml.safe_dump(config))
    result = Run(tmp_path / "run", (*elements_run.options, str(tmp_path / "twelve.yaml"))).snakemake()
    assert result.returncode == 0, result.stdout[-6000:]
    results = tmp_path / "run/results"
    assert len(pd.read_csv(results / "materials.csv")) == 12
    record = json.loads((results / "regression/attention_cnn/magpie_latent/chemical_system/targets.json").read_text())
    assert record["targets"] == []
    assert "1 validation materials" in record["left_out"]["bulk_modulus_gpa"]
    trained = {"mean", "lightgbm", "blend"}
    assert set(pd.read_csv(results / "metrics.csv")["model"]) == trained
    manifest = json.loads((results / "models/manifest.json").read_text())
    assert {entry["model"] for entry in manifest["regressors"]} <= trained - {"mean"}
    assert {entry["model"] for entry in manifest["regressors"]}
    assert "attention_cnn" not in set(pd.read_csv(results / "intervals.csv")["model"])
    page = Page((results / "report.html").read_text())
    assert any(not lacking(text, "Attention CNN", "chemical system", 1, 5, 2) for text in page.text.values())


@pytest.fixture(scope="session")
def table_run(elements_run, tmp_path_factory) -> Run:
    """A materials table with the densities of the first run as files, the bad files that users have, one new row."""
    folder = tmp_path_factory.mktemp("table")
    data = folder / "data"
    data.mkdir()
    rows = ["material_id,structure,density,bulk_modulus_gpa"]
    labels = pd.read_csv(elements_run.folder / "results/materials.csv", index_col="material_id", keep_default_na=False)
    for name, label in labels["bulk_modulus_gpa"].items():
        shutil.copy(elements_run.folder / f"results/dft/{name}/density.npz", data / f"{name}.npz")
        shutil.copy(elements_run.folder / f"resources/elements/{name}.vasp", data / f"{name}.vasp")
        rows.append(f"{name},data/{name}.vasp,data/{name}.npz,{'' if name == 'Al' else label}")
    rows += [f"bad-{reason},data/{files}" for reason, files in write_bad_files(data).items()]
    (folder / "materials.csv").write_text("\n".join(rows) + "\n")
    options = ("--configfile", ".test/config/config.yaml", "--config", f"materials={folder}/materials.csv")
    overrides = folder / "files.yaml"
    overrides.write_text(
        "dft: {engine: files, min_converged_fraction: 0.5}\nautoencoder: {scope: fold}\n"
        "evaluation:\n"
        "  splits: [chemical_system]\n"
        "  regressions: {gaussian_process: [], multiscale_cnn: [], multiscale_cnn_single: [], graph_network: []}\n"
    )
    run = Run(folder / "run", (*options[:2], str(overrides), *options[2:]))
    result = run.snakemake()
    assert result.returncode == 0, result.stdout[-6000:]
    return run


def write_bad_files(data) -> dict[str, str]:
    """Files that must be set aside: reason -> structure, density and label cells."""
    beryllium = read_npz(data / "Be.npz")
    arrays = dict(np.load(data / "Be.npz"))
    holes = arrays["density"].copy()
    holes[0, 0, 0] = np.nan
    np.savez(data / "nan.npz", **(arrays | {"density": holes}))
    np.savez(data / "electrons.npz", **(arrays | {"n_electrons": np.float64(5.0)}))
    (data / "cut.npz").write_bytes((data / "Be.npz").read_bytes()[:2000])
    (data / "malformed.cif").write_text("data_x\n_cell_length_a 3.0\nloop_\n_atom_site_label\n")
    lines = ["Be", "1.0", *(" ".join(f"{x:.8f}" for x in row) for row in beryllium.lattice), "Be", "2", "Direct"]
    lines += [" ".join(f"{x:.8f}" for x in row) for row in beryllium.frac_coords]
    values = (beryllium.values * beryllium.volume_ang3).ravel(order="F")
    lines += ["", " ".join(map(str, beryllium.values.shape))]
    lines += [" ".join(f"{x:.11E}" for x in values[i : i + 5]) for i in range(0, len(values), 5)]
    (data / "CHGCAR_cut").write_text("\n".join(lines[: len(lines) // 2]) + "\n")
    return {
        "nan": "Be.vasp,data/nan.npz,100",
        "electrons": "Be.vasp,data/electrons.npz,100",
        "cut": "Be.vasp,data/cut.npz,100",
        "chgcar": "Be.vasp,data/CHGCAR_cut,100",
        "cif": "malformed.cif,data/Be.npz,100",
        "other": "Mg.vasp,data/Be.npz,100",
    }


def test_bad_files_are_set_aside_with_file_and_reason(table_run):
    outcomes = pd.read_csv(
        table_run.folder / "results/dft_outcomes.csv", index_col="material_id", keep_default_na=False
    )
    failed = outcomes[outcomes["status"] == "failed"]["reason"]
    files = {
        "bad-nan": "nan.npz", "bad-electrons": "electrons.npz", "bad-cut": "cut.npz", "bad-chgcar": "CHGCAR_cut",
        "bad-cif": "malformed.cif", "bad-other": "Be.npz",
    }  # fmt: skip
    assert set(failed.index) == set(files)
    for name, file in files.items():
        assert file in failed[name], failed[name]
        assert "\n" not in failed[name]
        folder = table_run.folder / "results/dft" / name
        assert not (folder / "density.npz").exists()
        assert json.loads((folder / "outcome.json").read_text())["status"] == "failed"
    assert not list(table_run.folder.rglob(".partial-*"))
    materials = (table_run.folder / "results/materials.csv").read_text()
    assert "bad-" not in materials
    assert "bad-nan" in (table_run.folder / "results/report.html").read_text()


def test_each_fold_has_an_autoencoder_that_never_saw_its_test_part(table_run):
    splits = pd.read_csv(table_run.folder / "results/splits.csv", dtype=str, keep_default_na=False)
    for fold in ("0", "1", "2"):
        rows = splits[(splits["split"] == "chemical_system") & (splits["fold"] == fold)]
        seen = pd.read_csv(table_run.folder / f"results/autoencoder/chemical_system-{fold}/split.csv", dtype=str)
        assert seen.set_index("material_id")["part"].to_dict() == rows.set_index("material_id")["part"].to_dict()
        latents = np.load(table_run.folder / f"results/latents/chemical_system-{fold}.npz")
        assert sorted(latents["material_ids"]) == sorted(rows["material_id"])


def test_a_row_without_label_is_predicted(table_run):
    predictions = pd.read_csv(table_run.folder / "results/predictions.csv", keep_default_na=False)
    assert set(predictions["material_id"]) == {"Al"}
    rows = predictions[predictions["target"] == "bulk_modulus_gpa"]
    assert set(rows["model"]) >= {"lightgbm", "attention_cnn"}
    assert (rows["unit"] == "GPa").all()
    labels = pd.read_csv(table_run.folder / "results/materials.csv")["bulk_modulus_gpa"]
    values = rows.set_index("model")["value"].astype(float)
    assert 0.5 * labels.min() < values["lightgbm"] < 1.5 * labels.max()
    assert values["lightgbm"] != pytest.approx(labels.mean(), rel=1e-3)  # not the mean of what it learned from
    bundle = load_bundle(table_run.folder / "results/models")
    density = read_npz(table_run.folder / "results/dft/Al/density.npz")
    again = bundle.predict(density, "Al").table
    again = again[again["target"] == "bulk_modulus_gpa"].set_index("model")["value"].astype(float)
    assert set(again.index) <= set(values.index)
    for model, value in again.items():  # the bundle predicts from the same models
        assert value == pytest.approx(values[model], rel=1e-4)


def test_adding_a_material_runs_only_its_own_rules(table_run):
    table = table_run.folder.parent / "materials.csv"
    before = table.read_text()
    try:
        table.write_text(before + "new-one,data/Mg.vasp,data/Mg.npz,\n")
        result = table_run.snakemake("--dry-run", "--quiet", "host")
    finally:
        table.write_text(before)
    jobs = {line.split()[0]: int(line.split()[1]) for line in job_table(result.stdout)}
    own = {"run_dft": 1, "encode_material": 1, "predict_properties": 1, "write_latent_database": 1}
    shown = {"collect_tables": 1, "plot_figures": 1, "render_report": 1, "all": 1}
    assert jobs == own | shown | {"total": 8}


def job_table(output: str) -> list[str]:
    lines = output.splitlines()
    start = next(i for i, line in enumerate(lines) if line.split() == ["job", "count"])
    stop = next(i for i, line in enumerate(lines) if line.startswith("total"))
    return lines[start + 2 : stop + 1]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("Be,data/Be.vasp,data/Be.npz,3", "already appears on line"),
        ("x,data/Be.vasp,data/Be.npz,hard", "column bulk_modulus_gpa: 'hard'"),
        ("x,data/none.cif,data/Be.npz,3", "there is no file"),
    ],
)
def test_a_bad_table_stops_before_any_work(table_run, tmp_path, row, message):
    table = table_run.folder.parent / "bad.csv"
    table.write_text((table_run.folder.parent / "materials.csv").read_text() + row + "\n")
    result = Run(tmp_path, (*table_run.options[:-1], f"materials={table}")).snakemake()
    assert result.returncode != 0
    assert message in result.stdout
    assert str(table) in result.stdout
    assert "Traceback" not in result.stdout
    assert not (tmp_path / "results").exists()


def test_dry_run_of_six_thousand_materials_is_quick_and_small(tmp_path):
    run = Run(tmp_path / "run", ("--config", f"materials={write_table(tmp_path, 6059)}"))
    result = run.snakemake("--dry-run", "--quiet", "host")
    assert result.returncode == 0, result.stdout[-3000:]
    total = next(line for line in job_table(result.stdout) if line.startswith("total"))
    assert 6059 < int(total.split()[1]) <= 12_000


@pytest.mark.parametrize("config", sorted(path.name for path in (ROOT / "config").glob("*.yaml")))
def test_shipped_configs_are_valid(tmp_path, config):
    table = write_table(tmp_path, 20)
    parts = ["train"] * 12 + ["validation"] * 4 + ["test"] * 4  # the split of latentmatfusion.yaml; others ignore it
    pd.read_csv(table, dtype=str).assign(split=parts).to_csv(table, index=False)
    run = Run(tmp_path / "run", ("--configfile", f"config/{config}", "--config", f"materials={table}"))
    assert run.snakemake("--dry-run").returncode == 0


def test_an_unknown_config_key_is_refused(tmp_path):
    (tmp_path / "mine.yaml").write_text("grid: {sizes: 64}\n")
    result = Run(tmp_path, ("--configfile", str(tmp_path / "mine.yaml"))).snakemake("--dry-run")
    assert result.returncode != 0
    assert "sizes" in result.stdout


def test_written_densities_can_be_read_by_the_files_engine(elements_run, tmp_path):
    density = read_npz(elements_run.folder / "results/dft/Mg/density.npz")
    write_npz(density, tmp_path / "copy.npz")
    np.testing.assert_array_equal(read_npz(tmp_path / "copy.npz").values, density.values)
