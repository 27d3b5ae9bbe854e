from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from rho2prop.report.blocks import Figure, Table, Text
from rho2prop.report.data import TABLES, read_run, read_table
from rho2prop.report.sections import trust
from rho2prop.report.sections.intervals import intervals
from rho2prop.report.style import to_svg


def invariance_table():
    """Fingerprint: 0.1 % at most; latent: 3 % under rotation, 0.2 % as PCA."""
    rows = []
    sizes = {
        ("lightgbm", "fingerprint", ""): {"rotation": 0.0, "shift": 0.001, "supercell": 0.0},
        ("attention_cnn", "latent", "window"): {"rotation": -0.03, "shift": 0.012, "supercell": 0.0},
        ("lightgbm", "latent_pca", "window"): {"rotation": 0.0, "shift": -0.002, "supercell": 0.0},
    }
    for key, kinds in sizes.items():
        rows.append(("m1", *key, "", "as given", "bulk_modulus_gpa", 100.0, 0.0))
        for kind, size in kinds.items():
            for n, share in enumerate((0.5, 1.0)):
                rows.append(
                    ("m1", *key, kind, f"{kind} {n}", "bulk_modulus_gpa", 100 * (1 + size * share), size * share)
                )
    columns = [name for names in TABLES["invariance"] for name in names]
    return pd.DataFrame(rows, columns=columns)


def database_table():
    columns = [name for names in TABLES["latent_database"] for name in names]
    rows = [
        ("m1", "MgO", "train", "", 1000, 17000, 1_000_000, None, None, None),
        ("m2", "Si", "test", "", 1000, 17000, 2_400_000, 0.08, 0.001, 0.99),
        ("m3", "NaCl", "test", "", 1000, 17000, 1_700_000, 0.04, 0.0005, 1.03),
        ("m4", "U", "new", "the window is too small", 1000, 17000, 1_700_000, None, None, None),
    ]
    return pd.DataFrame(rows, columns=columns)


def only(section, kind):
    return [block for block in section.blocks if isinstance(block, kind)]


def test_largest_changes_are_shown_and_judged_by_the_bar():
    section = trust.invariance(invariance_table())
    fingerprint, latent, components, paper = only(section, Table)[0].rows
    assert fingerprint.cells == ("LightGBM, fingerprint", "0", "0", "0.10", "0.079", "0", "0", "yes")
    assert latent.cells[:2] == ("Attention CNN, latent (window)", "3.0")
    assert latent.cells[-1] == "no"
    assert 1 not in latent.bold
    assert components.cells[0] == "LightGBM, latent PCA (window)"
    assert components.cells[3] == "0.20"
    assert components.cells[-1] == "yes"
    assert 3 in components.bold
    assert paper.kind == "paper"


def test_the_text_says_who_breaks_the_bar_and_by_how_much():
    section = trust.invariance(invariance_table())
    text = " ".join(block.text for block in only(section, Text))
    assert "Attention CNN, latent (window) (3.0 %)" in text.split("Not within")[1]
    assert "LightGBM, fingerprint" in text.split("Not within")[0]
    assert "1 material" in text
    assert "6 other descriptions" in text
    assert "mean latent over the 24 rotations" in text


def test_the_robustness_figure_marks_each_largest_change():
    figure = only(trust.invariance(invariance_table()), Figure)[0]
    bars = [line for axes in figure.drawing.axes for line in axes.lines if line.get_marker() == "|"]
    largest = [float(bar.get_xdata()[0]) for bar in bars]
    assert largest == pytest.approx([1e-5, 3.0, 1e-5, 0.1, 1.2, 0.2, 1e-5, 1e-5, 1e-5])
    assert to_svg(figure.drawing, figure.name).startswith("<svg")


def test_size_ratio_and_errors_of_the_database():
    section = trust.latent_database(database_table())
    text = " ".join(block.text for block in only(section, Text))
    assert "100.0 times as much" in text  # 6.8 MB of CHGCAR, 68 kB stored
    assert "4 materials" in text
    assert "2.00 % on average, 3.00 % at most" in text
    assert "m4: the window is too small" in text
    decoded, grid = only(section, Table)[0].rows
    assert decoded.cells[1:3] == ("6.00", "6.00")
    assert grid.cells[-1] == "0.100"
    assert to_svg(only(section, Figure)[0].drawing, "errors").startswith("<svg")


@pytest.mark.parametrize("make", [trust.invariance, trust.latent_database])
def test_what_was_not_measured_is_said(make):
    for table in (None, pd.DataFrame()):
        (block,) = make(table).blocks
        assert block.kind == "missing"


def test_tables_survive_their_files(tmp_path):
    """Blank kinds and reasons come back as empty text, blank errors as unknown."""
    for name, table, columns, make in (
        ("invariance", invariance_table(), TABLES["invariance"], trust.invariance),
        ("latent_database", database_table(), TABLES["latent_database"], trust.latent_database),
    ):
        table.to_csv(tmp_path / f"{name}.csv", index=False)
        read = make(read_table(tmp_path / f"{name}.csv", *columns))
        assert [b.rows for b in only(read, Table)] == [b.rows for b in only(make(table), Table)]
        assert [b.text for b in only(read, Text)] == [b.text for b in only(make(table), Text)]


@pytest.mark.parametrize(
    ("coverage", "n", "outside"),
    [(0.81, 30, False), (0.81, 500, True), (0.99, 500, True), (0.9, 500, False), (0.845, 100, False)],
)
def test_the_verdict_on_coverage_follows_from_each_row_and_its_number_of_materials(coverage, n, outside):
    rows = [("bulk_modulus_gpa", "lightgbm", "magpie", fold, 0.9, coverage, n, 40.0) for fold in ("0", "pooled")]
    columns = ["target", "model", "features", "fold", "coverage_stated", "coverage_found", "n", "mean_width"]
    run = replace(read_run({}, {}), intervals=pd.DataFrame(rows, columns=columns))
    text = intervals(run).blocks[-1].text
    assert ("Outside" in text) is outside
    assert (f"{100 * coverage:.1f} %" in text) is outside
    assert f"With {n} materials" in text
    assert f"less than {200 * np.sqrt(0.09 / n):.1f} %" in text
