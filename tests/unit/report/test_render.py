"""The report on a small made-up run: its content, what it needs, and what it says when data are missing."""

import csv
import re
import warnings
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from standins.refusals import lacking, refused
from standins.report_run import CONFIG, FAR_OFF, REASON, SECTIONS, SMEARED, E, G, K, Page, write_csv, write_run

from rho2prop.core.errors import InputError
from rho2prop.features.feature_sets import set_label
from rho2prop.features.registry import blocks_label
from rho2prop.report import FIGURE_FILES, render, save_figures
from rho2prop.report.data import density_gain, hybrid_features, read_benchmarks, read_run, with_own_answers
from rho2prop.report.figures.density import density_slices
from rho2prop.report.paper import ABLATION, ABLATION_TARGETS
from rho2prop.report.sections.baselines import against_baselines

pytestmark = pytest.mark.slow


@pytest.fixture
def inputs(tmp_path):
    return write_run(tmp_path)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """Inputs, HTML and parsed page of the run, written once for the tests that only look."""
    folder = tmp_path_factory.mktemp("report")
    inputs = write_run(folder)
    return inputs, *page(inputs, folder)


def page(inputs: dict, tmp_path: Path, config: dict = CONFIG) -> tuple[str, Page]:
    render(inputs, config, tmp_path / "out" / "report.html")
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    return html, Page(html)


def test_report_has_each_section_and_line_of_contents(rendered):
    _, _, found = rendered
    assert [attributes["id"] for tag, attributes in found.elements if tag == "section"] == SECTIONS
    links = [attributes.get("href") for tag, attributes in found.elements if tag == "a"]
    assert links[: len(SECTIONS)] == [f"#{name}" for name in SECTIONS]


def test_report_needs_no_other_file_and_names_its_images(rendered):
    _, html, found = rendered
    assert len(html.encode()) < 10_000_000
    assert not {tag for tag, _ in found.elements} & {"script", "link", "iframe", "object", "video", "audio"}
    for tag, attributes in found.elements:
        for name in ("src", "href", "xlink:href"):
            address = attributes.get(name) or ""
            outside = address.startswith(("http", "//", "file"))
            assert not outside or (tag, name) == ("a", "href"), f"<{tag} {name}={address[:80]}>"
        if tag == "img":
            assert attributes["alt"]
            assert attributes["src"].startswith("data:image/png;base64,")
        if tag == "svg":
            assert attributes["role"] == "img"
            assert attributes["aria-label"]
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_report_gives_mean_and_standard_deviation_over_folds(rendered):
    _, _, found = rendered
    rows = found.rows("properties")
    # MAE 10 and 14: mean 12, sample standard deviation 2√2; R² .90 and .94: .92 ± .028
    assert ["LightGBM", "MAGPIE", "0.920 ± 0.028", "12.0 ± 2.8", "14.4 ± 3.4", "2"] in rows
    summary = [row for row in found.rows("summary") if row and row[0].startswith("bulk modulus")]
    assert summary == [
        [
            "bulk modulus K / GPa",
            "LightGBM: MAGPIE latent PCA",
            "11.3 ± 4.7",
            "0.920 ± 0.028",
            "52.0",
            "11.3 ± 4.7",
        ]
    ]


def test_report_compares_density_with_control_fold_by_fold(rendered):
    inputs, _, found = rendered
    gain = density_gain(read_run(inputs, CONFIG))
    of_k = gain[(gain["target"] == K) & (gain["split"] == "random")].iloc[0]
    assert of_k.without_density == ("lightgbm", "magpie")
    assert of_k.with_density == ("lightgbm", "magpie_latent_pca")
    assert of_k.change == pytest.approx(11.35 / 12 - 1)
    assert (of_k.n_better, of_k.n_folds) == (1, 2)
    assert of_k.change_std == pytest.approx(np.std([-0.2, 0.05], ddof=1))
    assert "1 of 2" in [cell for row in found.rows("properties") for cell in row]


def test_report_compares_what_predicts_with_every_control(inputs, tmp_path):
    config = CONFIG | {"predict": [{"model": "lightgbm", "features": "magpie_latent_pca"}]}
    table = against_baselines(read_run(inputs, config)).set_index(["model", "features", "target"])
    assert not any("latent" in features for _, features, _ in table.index)
    of_k = table.loc[("lightgbm", "magpie", K)]
    assert of_k["change"] == pytest.approx(11.35 / 12 - 1)
    assert of_k["change_std"] == pytest.approx(np.std([-0.2, 0.05], ddof=1))
    assert against_baselines(read_run(inputs, CONFIG | {"predict": []})).empty
    _, found = page(inputs, tmp_path, config)
    assert any(row and row[0] == "LightGBM: MAGPIE" and "−5 ± 18 %" in row for row in found.rows("properties"))


def test_sets_and_blocks_are_named_as_a_reader_knows_them():
    assert set_label("magpie_deformation_latent_pca") == "MAGPIE deformation latent PCA"
    assert set_label("no_density") == "no density"
    blocks = ("magpie", "latent_pca", "deformation_fingerprint")
    assert blocks_label(blocks) == "MAGPIE + latent PCA + deformation fingerprint"
    assert blocks_label(blocks, is_short=True) == "MAGPIE + latent PCA + ΔFP"


def test_the_feature_sets_of_the_run_are_listed_with_their_blocks(inputs, tmp_path):
    _, found = page(inputs, tmp_path)
    rows = found.rows("properties")
    assert ["MAGPIE latent PCA", "magpie_latent_pca", "MAGPIE + latent PCA", "yes"] in rows
    assert ["MAGPIE", "magpie", "MAGPIE", "no"] in rows
    assert not any(row and row[0] == "full" for row in rows)  # defined and not evaluated


def test_a_set_is_known_by_its_blocks_and_one_without_definition_is_named(inputs):
    renamed = {"feature_sets": {"none_of_it": ["magpie"], "hybrid": ["magpie", "latent_pca"]}}
    run = read_run(inputs, CONFIG | renamed)
    with refused("magpie_latent_pca"):
        run.uses_density("magpie_latent_pca")


def test_what_a_model_derives_and_does_not_learn_is_its_own_answer():
    young, rows = "youngs_modulus_gpa", []
    for model in ("blend_from_kg", "lightgbm", "lightgbm_from_kg"):
        rows.append({"model": model, "features": "magpie", "target": young, "mae": len(model)})
    rows.append({"model": "blend", "features": "magpie", "target": K, "mae": 1})
    named = with_own_answers(pd.DataFrame(rows))
    assert named["model"].tolist() == ["blend", "lightgbm", "lightgbm_from_kg", "blend"]
    assert named["mae"].tolist() == [13, 8, 16, 1]


def test_report_shows_failure_reason_escaped(rendered):
    _, html, found = rendered
    assert ["m-bad", "failed", REASON] in found.rows("dft")
    assert "<script>alert" not in html
    assert not lacking(found.text["dft"], 12, 1)
    assert not lacking(found.text["dft"], "3.50")


def test_report_lists_corrections_and_flags_changes_of_the_protocol(rendered):
    _, _, found = rendered
    rows = found.rows("dft")
    flagged = ["m-5", "converged", "IBRION 2 → 1; ISMEAR -5 → 0", "⚠ ISMEAR -5 → 0"]
    plain = ["m-3", "converged", "ALGO Normal → All", "no"]
    assert rows.index(flagged) + 1 == rows.index(plain)
    assert [row[0] for row in rows if row and row[-1].startswith("⚠")] == ["m-5"]


def test_report_lists_free_atoms_with_moment_and_cost(rendered):
    _, _, found = rendered
    rows = found.rows("dft")
    assert ["O", "converged", "–", "no", "−1.931", "2.00", "45.0 s", "0.0125"] in rows
    assert ["Ti", "converged", SMEARED, f"⚠ {SMEARED}", "−2.500", "2.00", "3.00 min", "0.0500"] in rows
    assert "0.0625 core hours" in found.text["dft"]
    assert "Tc (no dataset)" in found.text["dft"]


def test_report_reads_older_runs_and_runs_without_atoms(inputs, tmp_path):
    lines = list(csv.reader(inputs["dft_outcomes"].read_text().splitlines()))
    old = [line[:-3] for line in lines]
    write_csv(inputs["dft_outcomes"], " ".join(old[0]), old[1:])
    inputs["atoms"].write_text(inputs["atoms"].read_text().splitlines()[0] + "\n")
    _, found = page(inputs, tmp_path)
    assert ["m-3", "converged", "ALGO Normal → All", "no"] in found.rows("dft")
    assert "⚠" not in found.text["dft"]
    assert "Hund" not in found.text["dft"]
    uncorrected = [[*line[:-1], ""] for line in old]
    write_csv(inputs["dft_outcomes"], " ".join(old[0]), uncorrected[1:])
    _, found = page(inputs, tmp_path)
    assert not any("ALGO Normal → All" in row for row in found.rows("dft"))


def test_report_says_that_there_are_no_failures(inputs, tmp_path):
    lines = inputs["dft_outcomes"].read_text().splitlines()[:-1]
    inputs["dft_outcomes"].write_text("\n".join(lines))
    _, found = page(inputs, tmp_path)
    assert "Failures: none." in found.text["dft"]


def test_report_sums_benchmarks_by_rule(rendered):
    inputs, _, found = rendered
    table = read_benchmarks(inputs["benchmarks"])
    assert table.groupby("rule")["wall_s"].sum().to_dict() == {"fit_lightgbm": 30.0, "run_dft": 180.0}
    assert ["run_dft", "2", "3.00 min", "–", "1.50 min", "2.00 min", "–", "101", "–", "–", ""] in found.rows("dft")


def test_report_compares_reconstruction_on_test_part_only(rendered):
    _, _, found = rendered
    rows = found.rows("autoencoder")
    assert ["Fourier truncation", "4", "8,192", "0.00200", "0.0200", "4.00", "4.00", "4.00"] in rows
    assert not lacking(found.text["autoencoder"], "0.500", "epoch 3")


def test_report_sets_paper_beside_run(rendered):
    _, _, found = rendered
    rows = found.rows("properties")
    assert ["paper", "0.94", "0.87", "0.88", "0.89", "0.96"] in rows
    assert ["this run, random", "0.92 ± 0.03", "0.92 ± 0.03", "–", "–", "–"] in rows
    latent_row = dict(zip(ABLATION_TARGETS, ABLATION[0][3], strict=True))
    assert (latent_row[G], latent_row[E]) == (0.80, 0.79)  # the paper's order is K, E, G


def test_report_says_what_could_not_be_predicted(rendered):
    _, _, found = rendered
    text = found.text["properties"]
    assert "Young's modulus (E): not predicted, no material has a label." in text
    assert "MAE from K, G" not in text
    assert "Debye temperature" in found.text["targets"]


def test_report_states_found_coverage_and_names_what_is_off(rendered):
    _, _, found = rendered
    rows = [row for row in found.rows("intervals") if row]
    # √(0.9 · 0.1 / 100) = 3.0 %
    assert rows[0][:6] == ["LightGBM, MAGPIE fingerprint", "K / GPa", "89.0", "3.0", "−0.3", "86 to 92"]
    assert rows[1][:6] == ["LightGBM (from K, G), MAGPIE fingerprint", "G / GPa", "65.0", "3.0", "−8.3", "60 to 70"]
    text = found.text["intervals"]
    assert "1 of 2 rows lie within" in text
    assert "Outside: LightGBM (from K, G), MAGPIE fingerprint, G (65.0 %)." in text
    assert "K (89" not in text


def test_the_report_names_the_models_that_are_not_offered(rendered, inputs, tmp_path):
    _, _, found = rendered
    rows = [row for row in found.rows("intervals") if row]
    assert ["LightGBM: MAGPIE fingerprint", "K / GPa", "5.10", "5.00", "4.50 to 6.25", "91.0", "103", "yes"] in rows
    assert ["Attention CNN: latent", "G / GPa", "41.0", "24.0", "20.0 to 28.0", "63.0", "103", "no"] in rows
    text = found.text["intervals"]
    assert "Offered: 1 of 2 models" in text
    assert f"Not offered: Attention CNN on latent, G ({FAR_OFF})." in text
    inputs["final_models"].write_text("\n".join(inputs["final_models"].read_text().splitlines()[:2]))
    _, better = page(inputs, tmp_path)
    assert "Not offered" not in better.text["intervals"]


def test_the_report_holds_no_score_that_the_run_did_not_compute(rendered):
    """But for the paper's own table, whose rows are marked."""
    _, _, found = rendered
    published = {f"{value:.2f}" for row in ABLATION for value in row[3] if value is not None}
    others = {word for word in re.findall(r"0\.[6-9]\d+", found.text["properties"])} - published
    assert others <= {"0.920", "0.900", "0.940"}
    assert all("paper" in row[0] for row in found.rows("properties") if set(row[1:]) & (published - {"0.92", "0.90"}))


def test_a_slice_that_is_quite_wrong_says_so_in_plain_numbers(inputs, tmp_path):
    arrays = dict(np.load(inputs["slices"][0]))
    np.savez(inputs["slices"][0], **(arrays | {"nmae": 1.0}))
    _, found = page(inputs, tmp_path)
    assert "NMAE 100 %" in found.text["autoencoder"]
    assert not re.search(r"\d[eE][+-]\d\d", " ".join(text for text in found.text.values() if text))
    titles = [axes.get_title("left") for axes in density_slices(read_run(inputs, CONFIG).slices).axes]
    assert "difference (100 %)" in titles


def test_rendering_and_plotting_warn_of_nothing(inputs, tmp_path):
    """An empty table beside the predictions made pandas fill the log."""
    header = inputs["metrics"].read_text().splitlines()[0]
    derived = f"{E},magpie,lightgbm_from_kg,random,0,6,6,0.9,3,4"
    inputs["metrics"].write_text("\n".join([header, *inputs["metrics"].read_text().splitlines()[1:], derived]) + "\n")
    for folder in (inputs["predictions_dir"]).glob("lightgbm/*/*"):
        write_csv(folder / "predictions_from_kg.csv", "fold material_id target y_true y_pred", [])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page(inputs, tmp_path)
        save_figures(inputs, CONFIG, tmp_path / "figures")


def test_largest_errors_come_with_their_remarks(rendered):
    _, _, found = rendered
    rows = [row for row in found.rows("errors") if row]
    assert rows == [["K / GPa", "m-7", "Fe2O3", "170", "184", "14.0", "magnetic element Fe"]]


def test_learning_curves_are_in_the_order_of_their_sizes(rendered):
    _, _, found = rendered
    rows = [row for row in found.rows("learning") if row]
    assert rows[0] == ["K / GPa", "LightGBM: MAGPIE", "20.50 ± 0.71", "16.50 ± 0.71", "12.50 ± 0.71"]
    assert rows[1][1:3] == ["LightGBM: MAGPIE fingerprint", "12.50 ± 0.71"]
    assert "50, 100" in found.text["learning"]


def test_report_of_an_almost_empty_run_is_sentences(inputs, tmp_path):
    header = inputs["metrics"].read_text().splitlines()[0]
    inputs["metrics"].write_text(header + "\n")
    for name in ("importance", "new_predictions", "history", "reconstruction", "splits"):
        inputs[name].write_text(inputs[name].read_text().splitlines()[0] + "\n")
    for name in ("slices", "benchmarks", "predictions_dir"):
        inputs[name] = None
    _, found = page(inputs, tmp_path)
    for section in ("properties", "summary"):  # no score of any model
        assert " ± " not in found.text[section]
        assert found.text[section].strip()
    assert "No SHAP values" in found.text["importance"]
    assert "No training history" in found.text["autoencoder"]
    assert not lacking(found.text["making"], "splits")
    paths = save_figures(inputs, CONFIG, tmp_path / "figures")
    assert "No property model was evaluated" in svg_comments(paths["feature_sets"])


def svg_comments(path: Path) -> str:
    """Text of an SVG whose letters are outlines: matplotlib repeats it in comments."""
    return " ".join(re.findall(r"<!-- (.*?) -->", path.read_text(), flags=re.S)).replace("\n", " ")


def test_report_of_nothing_at_all_is_sentences(tmp_path):
    _, found = page({}, tmp_path)
    kinds = [attributes.get("class") for tag, attributes in found.elements if tag == "p"]
    assert kinds.count("missing") >= len(SECTIONS) - 2  # all but the summary and how the run was made
    assert not {"figure", "table"} & {tag for tag, _ in found.elements}


def test_report_with_one_fold_gives_no_spread(inputs, tmp_path):
    lines = inputs["metrics"].read_text().splitlines()
    inputs["metrics"].write_text("\n".join(line for line in lines if line.split(",")[4] != "1"))
    _, found = page(inputs, tmp_path)
    assert ["LightGBM", "MAGPIE", "0.900", "10.0", "12.0", "1"] in found.rows("properties")


def test_report_prediction_and_importance_tables(rendered):
    _, _, found = rendered
    assert ["new-1", "Mg2Pd", "LightGBM: MAGPIE fingerprint", "61.2 ± 2.5"] in found.rows("predictions")
    assert ["K", "70.0 (80.0)", "30.0 (20.0)"] in found.rows("importance")
    assert not lacking(found.text["importance"], "K 30 %", "MAGPIE")


def test_report_is_the_same_for_the_same_run(rendered, tmp_path):
    inputs, first, _ = rendered
    second, _ = page(inputs, tmp_path)
    assert first == second
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.html"]


def test_save_figures_writes_the_main_figures(inputs, tmp_path):
    paths = save_figures(inputs, CONFIG, tmp_path / "figures")
    assert set(paths) == set(FIGURE_FILES)
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        f"{name}.{suffix}" for name, suffix in FIGURE_FILES.items()
    }
    for name, path in paths.items():
        if path.suffix == ".svg":
            assert ElementTree.parse(path).getroot().tag.endswith("svg")
        else:
            assert path.read_bytes().startswith(b"\x89PNG"), name
    assert "composition together" in svg_comments(paths["parity_attention_cnn"])
    assert "crystal" not in svg_comments(paths["crystal_systems"])
    assert "hexagonal" in svg_comments(paths["crystal_systems"])


def test_captions_exist_for_each_figure():
    folder = Path(__file__).parents[3] / "workflow" / "report"
    for name in (*FIGURE_FILES, "report", "workflow"):
        assert len((folder / f"{name}.rst").read_text().split()) > 10


def test_hybrid_features_follow_the_paper_then_the_configuration(inputs):
    run = read_run(inputs, CONFIG)
    assert hybrid_features(run, "lightgbm") == "magpie_latent_pca"
    assert hybrid_features(run, "attention_cnn") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda inputs: inputs["metrics"].unlink(), "metrics.csv: no such file"),
        (lambda inputs: inputs["metrics"].write_text("target,features\n"), "no column 'model'"),
        (
            lambda inputs: inputs["history"].write_text(inputs["history"].read_text() + "7,high,1,1,1\n"),
            "line 8, column 'train_loss': 'high' is not a number",
        ),
        (lambda inputs: inputs["slices"][0].write_bytes(b"PK\x03\x04 cut"), "slice.npz: not a density slice"),
        (lambda inputs: inputs.update(metric="x"), "unknown name 'metric'"),
    ],
)
def test_unusable_input_is_named(inputs, tmp_path, change, message):
    change(inputs)
    with pytest.raises(InputError, match=re.escape(message)):
        render(inputs, CONFIG, tmp_path / "out" / "report.html")
    assert not list((tmp_path / "out").glob("*"))
