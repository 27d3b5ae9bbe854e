"""Each page in a real browser, with a density that GPAW computed."""

import base64
import io

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import expect
from pymatgen.io.vasp.outputs import Chgcar
from standins.app_server import plot, upload, wait_for_plot

from rho2prop.core.targets import TARGETS
from rho2prop.densities.density import read_npz
from rho2prop.prediction.bundle.reader import load_bundle
from rho2prop.prediction.outputs import as_csv

DROP = """([name, content]) => {
    const bytes = Uint8Array.from(atob(content), c => c.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], name));
    const box = document.querySelector('[data-testid=upload]');
    box.dispatchEvent(new DragEvent('dragover', {dataTransfer: data, bubbles: true, cancelable: true}));
    requestAnimationFrame(() => box.querySelector('.q-uploader__dnd').dispatchEvent(
        new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true})));
}"""


def test_a_dropped_density_is_drawn_and_predicted(app, page, real_density, bundle):
    page.goto(app.address)
    page.evaluate(DROP, ["MgO.npz", base64.b64encode(real_density.read_bytes()).decode()])
    expect(page.get_by_test_id("title")).to_have_text("MgO: MgO.npz")
    expected = load_bundle(bundle).predict(read_npz(real_density), "MgO.npz")
    _check_table(page, expected)
    expect(page.get_by_text("Distance to the training set")).to_contain_text(expected.applicability.text)
    with page.expect_download() as saved:
        page.get_by_test_id("csv").click()
    found = pd.read_csv(saved.value.path(), float_precision="round_trip")
    wanted = pd.read_csv(io.StringIO(as_csv([expected])), float_precision="round_trip")
    assert saved.value.suggested_filename == "MgO-predictions.csv"
    for column in ("value", "lower", "upper"):
        np.testing.assert_allclose(found[column], wanted[column], rtol=1e-5)
    assert app.files() == []


def _check_table(page, expected):
    rows = page.get_by_test_id("predictions").locator("tbody tr").all_inner_texts()
    assert len(rows) == len(expected.table)
    for target in TARGETS.values():
        shown = [row for row in rows if row.startswith(f"{target.name} {target.symbol}\t")]
        of_target = expected.table[expected.table["target"] == target.column]
        assert {"LightGBM", "Attention CNN"} <= {row.split("\t")[1] for row in shown}
        for row in of_target.itertuples():
            numbers = f"{row.value:.4g}\t{row.lower:.4g} … {row.upper:.4g}\t{target.unit}"
            assert any(numbers in text for text in shown), numbers


def test_the_level_and_the_slice_follow_their_sliders(app, page, real_density):
    density = read_npz(real_density)
    page.goto(app.address)
    upload(page, real_density)
    first = wait_for_plot(page, "crystal")
    assert first["type"] == "mesh3d"
    assert first["triangles"] > 100
    expect(page.get_by_test_id("description")).to_contain_text(f"{density.n_electrons:g} electrons, valence density")
    expect(page.get_by_test_id("level-text")).to_contain_text("60 % of the electrons")
    page.get_by_test_id("level").click(position={"x": 1, "y": 12})
    expect(page.get_by_test_id("level-text")).to_contain_text(" 2 % of the electrons")
    page.wait_for_function(
        "n => document.querySelector('[data-testid=crystal]')._fullData[0].x.length !== n", arg=first["n"]
    )
    assert plot(page, "crystal")["triangles"] > 0

    slice_ = wait_for_plot(page, "slice")
    assert slice_["type"] == "heatmap"
    assert slice_["n_finite"] < slice_["n"]  # the primitive cell is slanted: corners of the picture are empty
    assert slice_["high"] ** 2 == pytest.approx(density.values[:, :, 0].max(), rel=0.05)
    page.get_by_test_id("slice-axis").get_by_text("a", exact=True).click()
    expect(page.get_by_test_id("slice-text")).to_have_text("Slice at 0.00 along lattice vector a")
    width = page.get_by_test_id("slice-position").bounding_box()["width"]
    page.get_by_test_id("slice-position").click(position={"x": width - 1, "y": 12})
    expect(page.get_by_test_id("slice-text")).to_have_text("Slice at 1.00 along lattice vector a")


def test_a_density_of_another_engine_is_refused_until_the_user_insists(app, page, place):
    page.goto(app.address)
    upload(page, place / "root" / "CHGCAR.gz")
    warning = page.get_by_test_id("warning")
    expect(warning).to_contain_text("is a density of the engine 'vasp'")
    assert page.get_by_test_id("predictions").count() == 0
    assert wait_for_plot(page, "crystal")["triangles"] > 100
    assert app.files() == ["CHGCAR.gz"]  # kept for the answer, decompressed copy gone
    page.get_by_test_id("insist").click()
    expect(page.get_by_test_id("predictions")).to_contain_text("bulk modulus K")
    expect(warning.first).to_contain_text("values and intervals may be wrong")
    assert app.files() == []


def test_a_file_of_this_machine_is_read_where_it_lies(app, page, place):
    page.goto(app.address)
    page.get_by_test_id("path").fill("inner.npz")
    page.get_by_test_id("read").click()
    expect(page.get_by_test_id("title")).to_have_text("MgO: MgO.npz")
    assert (place / "root" / "inner.npz").is_file()
    assert app.files() == []


def test_a_stored_latent_is_found_decoded_and_saved_as_chgcar(app, page, real_density, tmp_path):
    density = read_npz(real_density)
    page.goto(f"{app.address}latents")
    expect(page.get_by_test_id("found")).to_contain_text("4 in the database")
    page.get_by_test_id("search").fill("Mg4O4")
    page.get_by_test_id("search").press("Enter")
    expect(page.get_by_test_id("found")).to_contain_text("1 found for “Mg4O4”")
    page.get_by_test_id("materials").get_by_text("mp-1265").click()
    expect(page.get_by_test_id("title")).to_have_text("MgO: mp-1265")
    expect(page.get_by_test_id("note")).to_contain_text("1,024 numbers (2.0 kB")
    assert wait_for_plot(page, "crystal")["triangles"] > 0
    assert wait_for_plot(page, "slice")["high"] > 0
    with page.expect_download() as saved:
        page.get_by_test_id("save").click()
    assert saved.value.suggested_filename == "CHGCAR_mp-1265"
    saved.value.save_as(tmp_path / "CHGCAR")
    chgcar = Chgcar.from_file(str(tmp_path / "CHGCAR"))
    assert chgcar.data["total"].shape == density.values.shape
    assert chgcar.data["total"].mean() == pytest.approx(density.n_electrons, rel=1e-5)
    assert chgcar.structure.composition.reduced_formula == "MgO"


def test_a_search_without_result_says_so(app, page):
    page.goto(f"{app.address}latents")
    expect(page.get_by_test_id("found")).to_contain_text("in the database")
    page.get_by_test_id("search").fill("<b>Xx9</b>")
    page.get_by_test_id("search-button").click()
    expect(page.get_by_test_id("found")).to_contain_text("0 found for “<b>Xx9</b>”")


def test_the_report_is_shown_and_can_run_nothing(app, page):
    page.goto(f"{app.address}report")
    frame = page.frame_locator("[data-testid=report]")
    expect(frame.locator("section#summary")).to_contain_text("12")
    expect(frame.locator("body")).to_contain_text("<script>alert('x')</script>")  # a reason in the run, as text
    status, headers, body = app.request("GET", "/report.html")
    assert status == 200
    assert b"</html>" in body
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "sandbox" in headers["content-security-policy"]


def test_leaving_the_page_removes_its_files_at_once(app, page, place):
    page.goto(app.address)
    upload(page, place / "root" / "CHGCAR.gz")
    expect(page.get_by_test_id("warning")).to_contain_text("engine 'vasp'")
    assert app.files() == ["CHGCAR.gz"]
    page.get_by_text("Latent database").click()
    expect(page.get_by_test_id("found")).to_contain_text("in the database")
    assert app.files() == []
