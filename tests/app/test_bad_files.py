"""Every bad file that users have: a readable message in the app, and nothing left behind."""

import gzip
import os
import random
import signal
import socket
from dataclasses import replace
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest
from playwright.sync_api import expect
from standins.app_server import MAX_UPLOAD_MB, upload, watched_page

from rho2prop.crystals.structures import structure_from_density
from rho2prop.densities.chgcar_writer import write_chgcar
from rho2prop.densities.density import read_npz


@pytest.fixture(scope="module")
def bad(tmp_path_factory, real_density):
    """The bad files by name."""
    folder = tmp_path_factory.mktemp("bad")
    arrays = dict(np.load(real_density))
    holes = arrays["density"].copy()
    holes[1, 2, 3] = np.nan
    np.savez(folder / "nan.npz", **(arrays | {"density": holes}))
    np.savez(folder / "electrons.npz", **(arrays | {"n_electrons": np.float64(5.0)}))
    np.savez(folder / "pickle.npz", density=np.array([{}], dtype=object))
    np.savez(folder / "other.npz", something=np.arange(3))
    noise = random.Random(0)
    density = read_npz(real_density)
    write_chgcar(density, folder / "CHGCAR")
    whole = (folder / "CHGCAR").read_bytes()
    (folder / "CHGCAR_cut").write_bytes(whole[: len(whole) // 2])
    (folder / "CHGCAR_cut.gz").write_bytes(gzip.compress(whole)[:-500])
    (folder / "CHGCAR_bomb.gz").write_bytes(gzip.compress(bytes(50_000_000)))
    head = "x\n1.0\n4 0 0\n0 4 0\n0 0 4\nMg\n"
    (folder / "CHGCAR_atoms").write_text(f"{head}999999999\nDirect\n0 0 0\n\n2 2 2\n1 1 1 1 1 1 1 1\n")
    (folder / "CHGCAR_grid").write_text(f"{head}1\nDirect\n0 0 0\n\n20000 20000 20000\n1 1 1 1 1 1 1 1\n")
    (folder / "empty_CHGCAR").write_bytes(b"")
    (folder / "holiday.jpg").write_bytes(noise.randbytes(5000))
    (folder / "CHGCAR_noise").write_bytes(noise.randbytes(5000))
    (folder / "noise.cube").write_bytes(noise.randbytes(5000))
    structure_from_density(density).to(str(folder / "POSCAR"), fmt="poscar")
    write_chgcar(replace(density, values=np.flip(density.values, 0)), folder / "AECCAR0")
    with open(folder / "CHGCAR_big", "wb") as file:
        file.truncate(MAX_UPLOAD_MB * 1_000_000 + 1)
    return folder


@pytest.fixture(scope="module")
def shared_page(app, browser):
    with watched_page(browser) as page:
        page.goto(app.address)
        yield page


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nan.npz", "density is nan at grid point (1, 2, 3)"),
        ("electrons.npz", "expected 5.0000"),
        ("pickle.npz", "pickle.npz: "),
        ("other.npz", "lacks density, lattice"),
        ("CHGCAR_cut", "CHGCAR_cut, line "),
        ("CHGCAR_cut.gz", "CHGCAR_cut.gz: cannot be decompressed"),
        ("CHGCAR_bomb.gz", "CHGCAR_bomb.gz: is larger than 8.0 MB when decompressed"),
        ("CHGCAR_atoms", "names 999999999 atoms"),
        ("CHGCAR_grid", "should hold 8000000000000 numbers"),
        ("empty_CHGCAR", "empty_CHGCAR: is empty"),
        ("holiday.jpg", "its name is not that of a known density format"),
        ("CHGCAR_noise", "CHGCAR_noise: is not text"),
        ("noise.cube", "noise.cube, line "),
        ("POSCAR", "holds a crystal structure, not a density"),
        ("AECCAR0", "AECCAR0: holds the core charge by its name"),
        ("CHGCAR_big", "The file is larger than 2.0 MB"),
    ],
)
def test_a_bad_file_gets_a_readable_message_and_leaves_nothing(app, shared_page, bad, name, message):
    upload(shared_page, bad / name)
    shown = shared_page.get_by_test_id("error")
    expect(shown).to_contain_text(message)
    expect(shared_page.get_by_test_id("progress")).to_be_hidden()
    text = shown.inner_text()
    assert "Traceback" not in text
    assert str(app.temporary) not in text
    assert app.files() == []
    assert shared_page.get_by_test_id("title").count() == 0


@pytest.mark.parametrize("text", ["../outside.npz", "link.npz", "/etc/passwd", "none.npz", ""])
def test_a_path_outside_the_root_gets_a_message_without_the_servers_folders(app, shared_page, place, text):
    shared_page.get_by_test_id("path").fill(text)
    shared_page.get_by_test_id("path").press("Enter")
    expect(shared_page.get_by_test_id("error")).to_contain_text(
        f"{text or 'path'}: is not a file that the app may read"
    )
    expect(shared_page.get_by_test_id("root")).to_contain_text("“root”")
    assert str(place.parent) not in shared_page.content()


def test_after_all_that_a_good_file_is_predicted(app, shared_page, real_density):
    upload(shared_page, real_density)
    expect(shared_page.get_by_test_id("predictions")).to_contain_text("Debye temperature Θ")
    assert shared_page.get_by_test_id("error").count() == 0


def _token(app) -> str:
    """The upload address of a fresh page, as a program would find it."""
    body = app.request("GET", "/")[2].decode()
    return body.split("/upload/")[1].split("?")[0]


def test_the_server_itself_bounds_uploads(app):
    address = f"/upload/{_token(app)}?name=CHGCAR"
    too_much = bytes(MAX_UPLOAD_MB * 1_000_000 + 1)
    assert app.request("POST", address, body=too_much)[0] == 413
    # without a stated length, in chunks
    assert app.request("POST", address, headers={"Transfer-Encoding": "chunked"}, body=iter([too_much]))[0] == 413
    assert app.request("POST", "/upload/guessed?name=CHGCAR", body=b"x")[0] == 404
    assert app.files() == []


def test_an_upload_that_breaks_off_leaves_nothing(app):
    token = _token(app)
    with socket.create_connection(("127.0.0.1", urlsplit(app.address).port)) as connection:
        head = f"POST /upload/{token}?name=CHGCAR HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n"
        connection.sendall(head.encode() + b"x" * 1000)
        while app.files() != ["CHGCAR"]:
            app.request("GET", "/report.html")
    while app.files():
        app.request("GET", "/report.html")


def test_saved_files_need_the_secret_of_their_page_and_a_plain_name(app):
    token = _token(app)
    for path in (f"/files/{token}/CHGCAR", f"/files/{token}/..%2f..%2fsecret", "/files/guessed/CHGCAR"):
        assert app.request("GET", path)[0] == 404


def test_other_sites_get_no_answer(app):
    assert app.request("GET", "/", {"Host": "evil.example"})[0] == 421
    assert app.request("GET", "/", {"Host": "127.0.0.1.evil.example"})[0] == 421
    assert app.request("GET", "/", {"Host": "10.0.0.7"})[0] == 421
    for origin in ("http://evil.example", "http://127.0.0.1:1", "http://localhost", "null"):
        assert app.request("POST", f"/upload/{_token(app)}?name=x", {"Origin": origin}, b"x")[0] == 421
    upgrade = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }  # fmt: skip
    socket_path = "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
    for origin in ("http://evil.example", "http://127.0.0.1:1"):
        assert app.request("GET", socket_path, upgrade | {"Origin": origin})[0] == 403
    status, headers, _ = app.request("GET", "/", {"Host": "localhost:1234", "Origin": "http://localhost:1234"})
    assert status == 200
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_a_forwarded_prefix_cannot_write_into_the_page(app):
    body = app.request("GET", "/", {"X-Forwarded-Prefix": "/evil"})[2]
    assert b"/evil" not in body


def test_one_users_work_does_not_block_anothers(app, browser, page, real_density):
    page.goto(app.address)
    frozen = app.workers()
    for worker in frozen:
        os.kill(worker.pid, signal.SIGSTOP)  # whatever they do takes for ever
    upload(page, real_density)
    expect(page.get_by_test_id("progress")).to_contain_text("…")
    with watched_page(browser) as other:
        other.goto(f"{app.address}latents")
        expect(other.get_by_test_id("found")).to_contain_text("4 in the database")
    page.get_by_test_id("stop").click()
    expect(page.get_by_test_id("progress")).to_be_hidden()
    for worker in frozen:
        if worker.is_running():
            os.kill(worker.pid, signal.SIGCONT)
    upload(page, real_density)
    expect(page.get_by_test_id("predictions")).to_contain_text("shear modulus G")
    assert app.files() == []


def test_a_listening_socket_is_on_the_loopback_only(app):
    port = urlsplit(app.address).port
    listening = [
        connection.laddr
        for connection in psutil.Process(app.process.pid).net_connections()
        if connection.status == "LISTEN"
    ]
    assert listening == [("127.0.0.1", port)]
