"""The report on a small made-up run: its content, what it needs, and what it says when data are missing."""

import csv
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

from rho2prop.errors import InputError
from rho2prop.report import FIGURE_FILES, render, save_figures
from rho2prop.report.data import density_gain, hybrid_features, read_benchmarks, read_run
from rho2prop.report.numbers import duration, plus_minus, significant
from rho2prop.report.paper import ABLATION, ABLATION_TARGETS

CONFIG = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text())
SECTIONS = [
    "summary",
    "materials",
    "targets",
    "dft",
    "autoencoder",
    "properties",
    "importance",
    "predictions",
    "making",
]
REASON = "SCF not converged <script>alert('x')</script> & more"
K, G, E = "bulk_modulus_gpa", "shear_modulus_gpa", "youngs_modulus_gpa"
EMPTY = {"img", "meta", "br", "path", "use", "image", "rect", "stop"}


class Page(HTMLParser):
    """Elements, their attributes, and the text of a page by section; complains of unbalanced tags."""

    def __init__(self, html: str):
        super().__init__()
        self.elements, self.stack, self.section, self.text, self.cells = [], [], None, {}, {}
        self.feed(html)
        assert not self.stack, f"never closed: {self.stack}"

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "section":
            self.section = dict(attributes)["id"]
        if tag in {"td", "tr"}:
            self.cells.setdefault(self.section, []).append("" if tag == "td" else "\n")
        if tag not in EMPTY:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag in EMPTY:
            return
        assert self.stack.pop() == tag
        if tag == "section":
            self.section = None

    def handle_data(self, data):
        if self.stack and self.stack[-1] != "style":
            self.text[self.section] = self.text.get(self.section, "") + data
        if self.stack and self.stack[-1] == "td":
            self.cells[self.section][-1] += data

    def rows(self, section: str) -> list[list[str]]:
        """Cells of each table row of a section."""
        rows = []
        for cell in self.cells[section]:
            if cell == "\n":
                rows.append([])
            else:
                rows[-1].append(cell)
        return rows


def write_csv(path: Path, header: str, rows: list) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header.split())
        writer.writerows(rows)
    return path


def write_run(tmp_path: Path) -> dict:
    """A run of 12 materials with K and (for 8) G; MAGPIE alone misses K by 10 and 14 GPa in its two folds."""
    formulas = ["Si", "MgO", "Cu3Al", "NaCl", "TiC", "GaAs", "LiF", "Fe2O3", "ZnS", "BN", "AlN", "KCl"]
    systems = ["-".join(sorted(re.findall("[A-Z][a-z]?", formula))) for formula in formulas]
    ids = [f"m-{i}" for i in range(12)]
    bulk, shear = [100 + 10 * i for i in range(12)], [50 + 5 * i if i < 8 else "" for i in range(12)]
    paths = {
        "materials": write_csv(
            tmp_path / "materials.csv",
            "material_id role formula chemical_system crystal_system space_group_number n_sites "
            "volume_per_atom_ang3 structure bulk_modulus_gpa shear_modulus_gpa youngs_modulus_gpa "
            "debye_temperature_k formation_energy_ev_per_atom",
            [
                (
                    i,
                    "train",
                    f,
                    s,
                    "cubic" if n < 9 else "hexagonal",
                    225,
                    2,
                    15.5,
                    f"{i}.cif",
                    k,
                    g,
                    "",
                    "",
                    "",
                )
                for n, (i, f, s, k, g) in enumerate(zip(ids, formulas, systems, bulk, shear, strict=True))
            ],
        ),
        "dft_outcomes": write_csv(
            tmp_path / "dft_outcomes.csv",
            "material_id status reason engine engine_version energy_ev n_electrons grid wall_time_s "
            "core_hours corrections",
            [(i, "converged", "", "gpaw", "25.7.0", -5.5, 8, "20x20x20", 36, 0.25, "") for i in ids]
            + [("m-bad", "failed", REASON, "gpaw", "25.7.0", "", "", "", 72, 0.5, "")],
        ),
        "splits": write_csv(
            tmp_path / "splits.csv",
            "split fold material_id part",
            [
                (split, fold, i, "test" if n % 2 == fold else "train")
                for split in ("random", "chemical_system")
                for fold in (0, 1)
                for n, i in enumerate(ids)
            ],
        ),
        "history": write_csv(
            tmp_path / "history.csv",
            "epoch train_loss validation_loss seconds learning_rate",
            [(epoch, 1 / (epoch + 1), 0.5 + abs(epoch - 3), 60, 1e-3) for epoch in range(6)],
        ),
        "reconstruction": write_csv(
            tmp_path / "reconstruction.csv",
            "material_id method bytes mse mae relative_l1 part",
            [
                (i, method, 8192, 1e-3 * factor, 1e-2 * factor, 0.02 * factor, "test" if n < 4 else "train")
                for n, i in enumerate(ids)
                for method, factor in (("autoencoder", 1), ("fourier", 2), ("zfp", 3))
            ],
        ),
        "new_predictions": write_csv(
            tmp_path / "predictions.csv",
            "material_id formula target unit value model features fold_std",
            [("new-1", "Mg2Pd", K, "GPa", 61.23, "lightgbm", "magpie+fingerprint", 2.5)],
        ),
        "importance": write_csv(
            tmp_path / "importance.csv",
            "model features split target block share net_share",
            [
                ("lightgbm", "magpie+latent_pca", "chemical_system", K, "magpie", 0.7, 0.8),
                ("lightgbm", "magpie+latent_pca", "chemical_system", K, "latent_pca", 0.3, 0.2),
            ],
        ),
        "predictions_dir": tmp_path / "regression",
        "benchmarks": tmp_path / "benchmarks",
        "slices": [tmp_path / "slice.npz"],
    }
    scores = {"none": (50, 54), "magpie": (10, 14), "magpie+latent_pca": (8, 14.7), "latent": (20, 22)}
    metrics = []
    for split in ("random", "chemical_system"):
        for features, maes in scores.items():
            model = {"none": "mean", "latent": "attention_cnn"}.get(features, "lightgbm")
            rows = []
            for fold, mae in enumerate(maes):
                for target in (K, G) if features != "none" else (K,):
                    metrics.append((target, features, model, split, fold, 6, 6, 0.9 + 0.04 * fold, mae, 1.2 * mae))
                rows += [
                    (fold, i, K, k, k + mae) for n, (i, k) in enumerate(zip(ids, bulk, strict=True)) if n % 2 == fold
                ]
            write_csv(
                tmp_path / "regression" / model / features / split / "predictions.csv",
                "fold material_id target y_true y_pred",
                rows,
            )
    paths["metrics"] = write_csv(
        tmp_path / "metrics.csv", "target features model split fold n_train n_test r2 mae rmse", metrics
    )
    original = np.outer(np.sin(np.linspace(0, np.pi, 24)), np.ones(24)) + 0.01
    np.savez(
        tmp_path / "slice.npz",
        original=original,
        reconstructed=0.98 * original,
        difference=0.02 * original,
        edge_ang=9.6,
        relative_l1=0.02,
        formula="Cu3Al",
        material_id="m-2",
    )
    for rule, times in {"run_dft": (60, 120), "fit_lightgbm": (30,)}.items():
        (tmp_path / "benchmarks" / rule).mkdir(parents=True)
        for number, seconds in enumerate(times):
            (tmp_path / "benchmarks" / rule / f"{number}.tsv").write_text(
                "s\th:m:s\tmax_rss\tmean_load\tcpu_time\n" + f"{seconds}\t0:01:00\t{100 + number}\t90\t-\n"
            )
    return paths


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
            "LightGBM: MAGPIE + latent PCA",
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
    assert of_k.with_density == ("lightgbm", "magpie+latent_pca")
    assert of_k.change == pytest.approx(11.35 / 12 - 1)
    assert (of_k.n_better, of_k.n_folds) == (1, 2)
    assert of_k.change_std == pytest.approx(np.std([-0.2, 0.05], ddof=1))
    assert "1 of 2" in [cell for row in found.rows("properties") for cell in row]


def test_report_shows_failure_reason_escaped(rendered):
    _, html, found = rendered
    assert ["m-bad", "failed", REASON] in found.rows("dft")
    assert "<script>alert" not in html
    assert "12 converged, 1 set aside" in found.text["dft"]
    assert "3.50 core hours in all" in found.text["dft"]


def test_report_says_that_there_are_no_failures(inputs, tmp_path):
    lines = inputs["dft_outcomes"].read_text().splitlines()[:-1]
    inputs["dft_outcomes"].write_text("\n".join(lines))
    _, found = page(inputs, tmp_path)
    assert "Failures: none." in found.text["dft"]


def test_report_sums_benchmarks_by_rule(rendered):
    inputs, _, found = rendered
    table = read_benchmarks(inputs["benchmarks"])
    assert table.groupby("rule")["wall_s"].sum().to_dict() == {"fit_lightgbm": 30.0, "run_dft": 180.0}
    assert ["run_dft", "2", "3.00 min", "1.50 min", "2.00 min", "–", "101"] in found.rows("dft")


def test_report_compares_reconstruction_on_test_part_only(rendered):
    _, _, found = rendered
    rows = found.rows("autoencoder")
    assert ["Fourier truncation", "4", "8,192", "0.00200", "0.0200", "4.00", "4.00", "4.00"] in rows
    assert "lowest validation loss 0.500 at epoch 3" in found.text["autoencoder"]


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
    assert "this run has not both" in text
    assert "Attention CNN: not evaluated with features of density and composition together." in text
    assert "No material has a Debye temperature" in found.text["targets"]


def test_report_of_an_almost_empty_run_is_sentences(inputs, tmp_path):
    header = inputs["metrics"].read_text().splitlines()[0]
    inputs["metrics"].write_text(header + "\n")
    for name in ("importance", "new_predictions", "history", "reconstruction", "splits"):
        inputs[name].write_text(inputs[name].read_text().splitlines()[0] + "\n")
    for name in ("slices", "benchmarks", "predictions_dir"):
        inputs[name] = None
    _, found = page(inputs, tmp_path)
    assert "No property model was evaluated" in found.text["properties"]
    assert "No property model was evaluated" in found.text["summary"]
    assert "No SHAP values" in found.text["importance"]
    assert "No training history" in found.text["autoencoder"]
    assert "add a row to the materials table" in found.text["predictions"]
    assert "No splits were drawn" in found.text["making"]
    paths = save_figures(inputs, CONFIG, tmp_path / "figures")
    assert "No property model was evaluated" in svg_comments(paths["feature_sets"])


def svg_comments(path: Path) -> str:
    """Text of an SVG whose letters are outlines: matplotlib repeats it in comments."""
    return " ".join(re.findall(r"<!-- (.*?) -->", path.read_text(), flags=re.S)).replace("\n", " ")


def test_report_of_nothing_at_all_is_sentences(tmp_path):
    _, found = page({}, tmp_path)
    assert "No material reached this point" in found.text["materials"]
    assert "no autoencoder" in found.text["autoencoder"]


def test_report_with_one_fold_gives_no_spread(inputs, tmp_path):
    lines = inputs["metrics"].read_text().splitlines()
    inputs["metrics"].write_text("\n".join(line for line in lines if line.split(",")[4] != "1"))
    _, found = page(inputs, tmp_path)
    assert ["LightGBM", "MAGPIE", "0.900", "10.0", "12.0", "1"] in found.rows("properties")


def test_report_prediction_and_importance_tables(rendered):
    _, _, found = rendered
    assert ["new-1", "Mg2Pd", "LightGBM: MAGPIE + fingerprint", "61.2 ± 2.5"] in found.rows("predictions")
    assert ["K", "70.0 (80.0)", "30.0 (20.0)"] in found.rows("importance")
    assert "share of the density K 30 %. The paper says that the MAGPIE features" in found.text["importance"]


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
    folder = Path(__file__).parents[2] / "workflow" / "report"
    for name in (*FIGURE_FILES, "report", "workflow"):
        assert len((folder / f"{name}.rst").read_text().split()) > 10


def test_hybrid_features_follow_the_paper_then_the_configuration(inputs):
    run = read_run(inputs, CONFIG)
    assert hybrid_features(run, "lightgbm") == "magpie+latent_pca"
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


def test_numbers_have_sensible_digits():
    assert plus_minus(12.0, 2.828) == "12.0 ± 2.8"
    assert plus_minus(0.12345, 0.00321) == "0.1235 ± 0.0032" or plus_minus(0.12345, 0.00321) == "0.1234 ± 0.0032"
    assert plus_minus(154.4, 31.0) == "154 ± 31"
    assert plus_minus(-5.25, float("nan")) == "−5.25"
    assert plus_minus(float("nan"), 1.0) == "–"
    assert significant(0) == "0"
    assert significant(0.000002345) == "2.35e−6" or significant(0.000002345) == "2.34e−6"
    assert duration(45) == "45.0 s"
    assert duration(7200) == "2.00 h"
