"""Clumsy and hostile visitors: things done at the wrong moment, names and files that are made to harm."""

import os
import shutil
import signal
import sqlite3

import psutil
import pytest
from playwright.sync_api import expect
from standins.app_server import running_app, upload, watched_page

HOSTILE_NAME = "a\x1b]0;b\x07\x1b[31m\u202ec.npz"


@pytest.fixture
def stuck(app):
    """Workers that are frozen: whatever they are given takes for ever."""
    frozen = app.workers()
    for worker in frozen:
        os.kill(worker.pid, signal.SIGSTOP)
    yield frozen
    thaw(frozen)


def thaw(workers):
    for worker in workers:
        if worker.is_running():
            os.kill(worker.pid, signal.SIGCONT)


def thaw_when_one_is_stopped(workers):
    """The one that had the job of a page that turned to something else is gone: let the others work."""
    while all(worker.is_running() for worker in workers):
        pass
    thaw(workers)


def begin(app, page, path):
    """Drop a file on a page and wait until a worker has it."""
    page.goto(app.address)
    upload(page, path)
    expect(page.get_by_test_id("progress")).to_contain_text("Starting")


@pytest.mark.parametrize("name", ["MgO.npz", "second.npz"])
def test_a_file_dropped_during_a_prediction_takes_its_place(app, page, stuck, real_density, tmp_path, name):
    first, second = tmp_path / "MgO.npz", tmp_path / "more" / name
    second.parent.mkdir()
    for path in (first, second):
        shutil.copy(real_density, path)
    begin(app, page, first)
    upload(page, second)
    thaw_when_one_is_stopped(stuck)
    expect(page.get_by_test_id("title")).to_have_text(f"MgO: {name}")
    expect(page.get_by_test_id("predictions")).to_contain_text("bulk modulus K")
    expect(page.get_by_test_id("note").first).to_contain_text("MgO.npz was not finished")
    assert page.get_by_test_id("error").count() == 0
    assert app.files() == []
    assert "Traceback" not in app.terminal()


def test_a_page_loaded_again_during_a_prediction_stops_it(app, page, stuck, real_density):
    begin(app, page, real_density)
    page.reload()
    thaw_when_one_is_stopped(stuck)
    upload(page, real_density)
    expect(page.get_by_test_id("predictions")).to_contain_text("bulk modulus K")
    assert app.files() == []


def test_a_double_click_does_the_work_once(app, page, place):
    workers = {worker.pid for worker in app.workers()}
    page.goto(f"{app.address}latents")
    page.get_by_test_id("materials").get_by_text("mp-1265").dblclick()
    expect(page.get_by_test_id("title")).to_have_text("MgO: mp-1265")
    with page.expect_download() as saved:
        page.get_by_test_id("save").dblclick()
    assert saved.value.path().stat().st_size > 10_000
    page.goto(app.address)
    page.get_by_test_id("path").fill("MgO.npz")
    page.get_by_test_id("read").dblclick()
    expect(page.get_by_test_id("title")).to_have_text("MgO: MgO.npz")
    assert {worker.pid for worker in app.workers()} >= workers  # a stopped job would have cost its worker


@pytest.mark.parametrize("name", ["密度 (2).npz", "ΜgΟ πυκνότητα.npz", "плотность.NPZ"])
def test_names_of_all_scripts_keep_their_ending(app, page, real_density, name):
    page.goto(app.address)
    upload(page, {"name": name, "mimeType": "application/octet-stream", "buffer": real_density.read_bytes()})
    expect(page.get_by_test_id("title")).to_have_text(f"MgO: {name.replace(' ', '_').replace('(2)', '2_')}")


def test_control_characters_of_a_name_reach_neither_page_nor_terminal(app, page, place, real_density):
    hostile = place / "root" / HOSTILE_NAME
    page.goto(app.address)
    for content, shown in ((real_density.read_bytes(), "title"), (b"no density", "error")):
        hostile.write_bytes(content)
        page.get_by_test_id("path").fill(HOSTILE_NAME)
        page.get_by_test_id("read").click()
        expect(page.get_by_test_id(shown)).to_contain_text("a\\x1b]0;b\\x07\\x1b[31m\\u202ec.npz")
    hostile.unlink()
    app.request("GET", "/%1b[31m")
    terminal = app.terminal()
    assert not {"\x1b", "\x07", "\u202e"} & set(terminal)


def test_a_machine_that_goes_wrong_under_the_app(tmp_path, options, browser, real_density, bundle):
    """A crafted database, a bundle that goes, leftovers of a killed app, Ctrl-C during a job, the app killed."""
    models = shutil.copytree(bundle, tmp_path / "models")
    database = shutil.copy(options[options.index("--database") + 1], tmp_path / "latents.sqlite")
    connection = sqlite3.connect(database)
    connection.executescript(
        "ALTER TABLE materials RENAME TO real; CREATE VIEW materials AS "
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT real.* FROM real, t"
    )
    connection.close()
    changed = [*options, "--bundle", str(models), "--database", str(database)]
    temporary = tmp_path / "temporary"
    with running_app(temporary, *changed) as app, watched_page(browser) as page:
        page.goto(f"{app.address}latents")
        expect(page.get_by_test_id("error")).to_contain_text("latents.sqlite: has other tables, columns, views")
        assert str(tmp_path) not in page.content()
        page.goto(f"{app.address}")
        upload(page, real_density)
        expect(page.get_by_test_id("predictions")).to_contain_text("bulk modulus K")
        shutil.rmtree(models)
        for worker in app.workers():
            worker.kill()
        upload(page, real_density)
        expect(page.get_by_test_id("error")).to_contain_text("models: ")
        assert str(tmp_path) not in page.content()
        for worker in app.workers():
            os.kill(worker.pid, signal.SIGSTOP)
        upload(page, real_density)
        expect(page.get_by_test_id("progress")).to_contain_text("Starting")
        family = psutil.Process(app.process.pid).children(recursive=True)
        assert len(family) > 0
        app.process.send_signal(signal.SIGINT)
        app.process.wait(timeout=60)
        assert not psutil.wait_procs(family, timeout=60)[1]
        assert list(temporary.iterdir()) == []


def test_a_killed_app_takes_its_workers_along_and_the_next_one_cleans_up(tmp_path, options):
    temporary = tmp_path / "temporary"
    with running_app(temporary, *options) as app:
        family = psutil.Process(app.process.pid).children(recursive=True)
        app.process.kill()
        app.process.wait(timeout=60)
        assert not psutil.wait_procs(family, timeout=60)[1]
        left = list(temporary.iterdir())
        assert left
    with running_app(temporary, *options):
        assert not [path for path in left if path.exists()]
    assert list(temporary.iterdir()) == []
