"""Visitors that hold on to what they have: half requests, uploads that stall or drip, pages that go away."""

import socket
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI
from standins.app_server import until

from rho2prop.app.connections import MOST_HEAD_BYTES, BoundedProtocol
from rho2prop.app.guard import SLOWEST_BYTES_PER_S, Guard
from rho2prop.app.sessions import MOST_UPLOADS, Sessions
from rho2prop.app.settings import Settings, check_settings
from rho2prop.app.transfers import add_transfers

GRACE_S = 0.5
MB = 1_000_000


class ImpatientProtocol(BoundedProtocol):
    """The app's protocol with little patience; two connections more than uploads."""

    head_s, most_connections = 0.3, MOST_UPLOADS + 2


class Served:
    """The app's transfers behind its guard and protocol, without pages: one session, what its page was told."""

    def __init__(self, sessions: Sessions, port: int):
        self.sessions, self.port = sessions, port
        self.files, self.problems = [], []

    def open(self):
        session = self.sessions.open()
        session.on_file = lambda work, path: self.files.append((path.name, path.read_bytes()))
        session.on_problem = self.problems.append
        return session

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def upload(self, session, name="CHGCAR", sent=b"x", stated=None) -> socket.socket:
        """A connection with an upload of which ``stated`` bytes are announced."""
        connection = self.connect()
        length = len(sent) if stated is None else stated
        head = f"POST /upload/{session.token}?name={name} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        connection.sendall(f"{head}Content-Length: {length}\r\n\r\n".encode() + sent)
        return connection

    def stored(self) -> list[str]:
        return sorted(path.name for path in self.sessions.home.rglob("*") if path.is_file())


@pytest.fixture
def served(tmp_path, bundle):
    settings = check_settings(Settings(Path(bundle), Path("x"), Path("y"), port=0, max_upload_mb=20))
    home = tmp_path / "home"
    home.mkdir()
    sessions, app = Sessions(settings, home), FastAPI()
    add_transfers(app, sessions, settings.report, "")
    with _running(Guard(app, settings, idle_s=0.3, grace_s=GRACE_S)) as port:
        yield Served(sessions, port)


@contextmanager
def _running(app):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, http=ImpatientProtocol, log_level="critical", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def answer(connection: socket.socket) -> bytes:
    """All that comes until the other side ends the connection."""
    received = b""
    try:
        while more := connection.recv(65536):
            received += more
    except ConnectionResetError:
        pass
    connection.close()
    return received


def status(connection: socket.socket) -> int:
    """Of the answer, or 0 if there is none."""
    received = answer(connection)
    return int(received.split()[1]) if received else 0


def drip(connection: socket.socket, piece: bytes, most_bytes: int) -> bytes:
    """Send a piece whenever there was nothing to read for a moment; what was answered in the end."""
    connection.settimeout(0.02)
    for _ in range(most_bytes // len(piece)):
        try:
            connection.sendall(piece)
            received = connection.recv(65536)
        except TimeoutError:
            continue
        except (ConnectionResetError, BrokenPipeError):
            return b""
        return received
    raise AssertionError(f"{most_bytes} bytes were taken")


def test_stalled_uploads_end_and_free_their_places(served):
    stalled = [served.upload(served.open(), stated=1000) for _ in range(MOST_UPLOADS)]
    until(lambda: len(served.stored()) == MOST_UPLOADS)
    assert status(served.upload(served.open())) == 413  # all places are taken, which is said
    assert "uploads are already in progress" in served.problems[-1]
    assert [status(connection) for connection in stalled] == [408] * MOST_UPLOADS
    assert served.stored() == []
    assert status(served.upload(served.open(), sent=b"density")) == 204
    assert served.files == [("CHGCAR", b"density")]


def test_an_upload_that_drips_ends_although_it_never_stalls(served):
    session = served.open()
    # 20 bytes in 0.02 s at most: a twentieth of the rate that is asked for
    piece = b"x" * (SLOWEST_BYTES_PER_S // 1000)
    assert b" 408 " in drip(served.upload(session, stated=MB), piece, MB)
    assert served.stored() == []
    assert served.files == []


@pytest.mark.parametrize("start", [b"", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n", b"POST /upl"])
def test_a_request_that_is_never_finished_ends(served, start):
    connection = served.connect()
    connection.sendall(start)
    assert answer(connection) == b""


def test_a_head_that_drips_ends(served):
    connection = served.connect()
    connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
    assert drip(connection, b"a: b\r\n", MOST_HEAD_BYTES // 2) == b""


def test_a_second_request_that_is_never_finished_ends(served):
    connection = served.connect()
    connection.sendall(b"GET /report.html HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert connection.recv(65536).startswith(b"HTTP/1.1 404")
    connection.sendall(b"GET / HTTP/1.1\r\n")
    assert drip(connection, b"a: b\r\n", MOST_HEAD_BYTES // 2) == b""


def test_a_head_without_end_is_not_kept(served):
    connection = served.connect()
    connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
    endless = b"".join(b"a%d: " % n + b"b" * 995 + b"\r\n" for n in range(100 * MOST_HEAD_BYTES // 1000))
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        connection.sendall(endless)
    connection.close()


def test_connections_are_bounded_and_places_come_back(served):
    idle = [served.connect() for _ in range(3 * ImpatientProtocol.most_connections)]
    assert [answer(connection) for connection in idle] == [b""] * len(idle)
    assert status(served.upload(served.open())) == 204


def test_a_page_that_is_closed_during_its_upload_gets_no_file(served):
    session = served.open()
    connection = served.upload(session, stated=2)
    until(lambda: served.stored() == ["CHGCAR"])
    served.sessions.close(session)
    connection.sendall(b"y")
    assert status(connection) == 408
    assert served.files == []
    assert served.stored() == []


def test_a_second_upload_of_a_page_takes_the_place_of_the_first(served):
    session = served.open()
    first = served.upload(session, name="same", sent=b"a", stated=2)
    until(lambda: served.stored() == ["same"])
    assert status(served.upload(session, name="same", sent=b"new")) == 204
    first.sendall(b"b")
    assert status(first) == 408
    assert served.files == [("same", b"new")]
    assert served.problems == []
