"""The pictures of docs/app.md.

``PYTHONPATH=tests python tests/app/take_screenshots.py BUNDLE DATABASE REPORT DENSITY MATERIAL_ID``
"""

import os
import sys
import tempfile
from pathlib import Path

from standins.app_server import ROOT, running_app, running_browser, upload, wait_for_plot, watched_page

FOLDER = ROOT / "docs" / "screenshots"


def _home(folder: Path) -> Path:
    """A home folder for the app, so that no picture shows a path of this machine."""
    (folder / "densities").mkdir()
    os.environ["HOME"] = str(folder)
    return folder


def take(bundle: str, database: str, report: str, density: str, material_id: str) -> None:
    """Start the app and photograph each page."""
    places = {"bundle": bundle, "database": database, "report": report}
    options = [text for name, path in places.items() for text in (f"--{name}", str(Path(path).resolve()))]
    with (
        tempfile.TemporaryDirectory() as folder,
        running_app(Path(folder) / "temporary", *options, "--root", str(_home(Path(folder)) / "densities")) as app,
        running_browser() as browser,
        watched_page(browser, 1200, 800) as page,
    ):
        page.goto(app.address)
        upload(page, Path(density))
        wait_for_plot(page, "crystal")
        wait_for_plot(page, "slice")
        page.screenshot(path=FOLDER / "predict.png", full_page=True)
        page.goto(f"{app.address}latents")
        page.get_by_test_id("search").fill(material_id)
        page.get_by_test_id("search").press("Enter")
        page.get_by_test_id("found").filter(has_text=material_id).wait_for()
        page.get_by_test_id("materials").get_by_text(material_id, exact=True).first.click()
        wait_for_plot(page, "crystal")
        wait_for_plot(page, "slice")
        page.screenshot(path=FOLDER / "latents.png", full_page=True)
        page.goto(f"{app.address}report")
        page.frame_locator("[data-testid=report]").locator("section").first.wait_for()
        page.screenshot(path=FOLDER / "report.png")


if __name__ == "__main__":
    take(*sys.argv[1:])
