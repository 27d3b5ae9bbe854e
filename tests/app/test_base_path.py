"""The app behind a proxy's path, and its end."""

import signal

import psutil
from playwright.sync_api import expect
from standins.app_server import running_app, upload, watched_page


def test_everything_works_under_a_base_path_and_nothing_stays_after_the_end(
    tmp_path, options, browser, real_density, place
):
    with running_app(tmp_path / "temporary", *options, "--base-path", "/tools/rho2prop/") as app:
        assert app.address.endswith("/tools/rho2prop/")
        with watched_page(browser) as page:
            page.goto(app.address)
            upload(page, place / "root" / "CHGCAR.gz")
            expect(page.get_by_test_id("warning")).to_contain_text("engine 'vasp'")
            page.get_by_text("Report", exact=True).click()
            expect(page.frame_locator("[data-testid=report]").locator("section#summary")).to_contain_text("12")
            page.get_by_text("Latent database").click()
            page.get_by_test_id("materials").get_by_text("mp-1265").click()
            with page.expect_download() as saved:
                page.get_by_test_id("save").click()
            assert saved.value.path().stat().st_size > 10_000
            assert page.url == f"{app.address}latents"
            assert "CHGCAR_mp-1265" in app.files()
            # a proxy that strips the prefix asks for the same pages without it
            for path in ("", "latents", "report.html"):
                kept, stripped = app.request("GET", f"/tools/rho2prop/{path}"), app.request("GET", f"/{path}")
                assert kept[0] == stripped[0] == 200
                assert (b"/tools/rho2prop/_nicegui/" in stripped[2]) == (path != "report.html")
            assert app.request("GET", "/tools/rho2prop")[0] == 200
            family = [psutil.Process(app.process.pid), *psutil.Process(app.process.pid).children(recursive=True)]
            app.process.send_signal(signal.SIGTERM)
            app.process.wait(timeout=60)
    assert list((tmp_path / "temporary").iterdir()) == []
    assert not psutil.wait_procs(family, timeout=30)[1]
