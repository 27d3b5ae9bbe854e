"""Who may ask, and how much: host, origin, address and body of a request."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rho2prop.app.guard import MOST_OTHER_BYTES, Guard
from rho2prop.app.settings import Settings, check_settings


@pytest.fixture
def guarded(bundle):
    """The guard of an app that a proxy stands before, around an application that notes what reaches it."""
    names = frozenset({"tools.example.org", "lab.example.org:8443"})
    settings = check_settings(Settings(Path(bundle), Path("x"), Path("y"), max_upload_mb=2, allowed_hosts=names))
    return lambda app: Guard(app, settings)


def ask(guarded, headers=(), path="/", messages=None, kind="http"):
    """The messages that the application behind the guard received; None if the request was refused."""
    received, sent = [], []
    messages = iter(messages or [{"type": "http.request", "body": b"", "more_body": False}])

    async def app(scope, receive, send):
        received.append(scope["path"])
        while (message := await receive()) and message.get("more_body"):
            received.append(message)
        received.append(message)

    async def receive():
        return next(messages)

    async def send(message):
        sent.append(message)

    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    scope = {
        "type": kind,
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": pairs,
    }
    with ThreadPoolExecutor(1) as executor:  # the browser's driver keeps an event loop in this thread
        executor.submit(asyncio.run, guarded(app)(scope, receive, send)).result()
    assert bool(received) != bool(sent)
    return received or None


@pytest.mark.parametrize(
    ("host", "origin", "is_ours"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080", True),
        ("localhost:9000", "http://localhost:9000", True),  # the near end of a tunnel
        ("[::1]:8080", "http://[::1]:8080", True),
        ("127.0.0.1", "http://127.0.0.1", True),
        ("127.0.0.1:80", "http://127.0.0.1", True),
        ("127.0.0.1:8080", "http://127.0.0.1:9000", False),  # another server of this machine
        ("127.0.0.1:8080", "http://127.0.0.1", False),
        ("127.0.0.1:8080", "https://127.0.0.1", False),
        ("127.0.0.1:8080", "http://localhost:8080", False),
        ("127.0.0.1:8080", "http://[::1]:8080", False),
        ("127.0.0.1:8080", "http://127.0.0.2:8080", False),
        ("127.0.0.1:8080", "http://evil.example:8080", False),
        ("127.0.0.1:8080", "http://127.0.0.1:8080.evil.example", False),
        ("127.0.0.1:8080", "http://127.0.0.1:8080@evil.example", False),
        ("127.0.0.1:8080", "http://evil@127.0.0.1:8080", False),
        ("127.0.0.1:8080", "file://127.0.0.1:8080", False),
        ("127.0.0.1:8080", "null", False),
        ("127.0.0.1:8080", "", False),
        ("127.0.0.1:8080", "http://127.0.0.1:99999", False),
        ("127.0.0.1:8080", "https://tools.example.org", True),  # a proxy that writes its own Host
        ("tools.example.org", "https://tools.example.org", True),  # and one that keeps the browser's
        ("tools.example.org:8000", "http://tools.example.org:8000", True),
        ("127.0.0.1:8080", "https://tools.example.org:8000", False),
        ("127.0.0.1:8080", "https://lab.example.org:8443", True),
        ("lab.example.org:8443", "https://lab.example.org:8443", True),
        ("127.0.0.1:8080", "https://lab.example.org", False),
        ("127.0.0.1:8080", "https://other.tools.example.org", False),
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_only_pages_of_the_app_itself_may_use_it(guarded, host, origin, is_ours, kind):
    assert (ask(guarded, [("host", host), ("origin", origin)], kind=kind) is not None) == is_ours
    assert ask(guarded, [("host", host)], kind=kind) is not None


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("host", "")],
        [("host", "evil.example")],
        [("host", "127.0.0.1:x")],
        [("host", "127.0.0.1/x")],
        [("host", "x@127.0.0.1")],
        [("host", "127.0.0.1"), ("host", "evil.example")],
        [("host", "127.0.0.1"), ("origin", "http://127.0.0.1"), ("origin", "http://evil.example")],
    ],
)
def test_headers_that_can_be_read_in_two_ways_are_refused(guarded, headers):
    assert ask(guarded, headers) is None


def test_control_characters_of_an_address_reach_no_log(guarded):
    assert ask(guarded, [("host", "127.0.0.1")], path="/\x1b[2J") is None


@pytest.mark.parametrize(("path", "room"), [("/_nicegui_ws/socket.io/", 0), ("/upload/token", 2_000_000)])
def test_a_body_is_bounded_before_anything_keeps_it(guarded, path, room):
    piece = {"type": "http.request", "body": bytes(250_000), "more_body": True}
    received = ask(guarded, [("host", "127.0.0.1")], path=path, messages=[piece] * 100)
    assert received[-1] == {"type": "http.disconnect"}
    assert sum(len(message["body"]) for message in received[1:-1]) <= room + MOST_OTHER_BYTES
