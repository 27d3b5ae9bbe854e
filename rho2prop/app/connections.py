"""Connections with time limits: a client that is slow on purpose cannot occupy one."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_CONNECTIONS = 400  # below the usual limit of 1024 open files; a browser takes about seven
HEAD_S = 20.0  # for the head of a request, and for what is still sent after its answer
MOST_HEAD_BYTES = 64 << 10
READ_S = 300.0  # while nothing of an answer is taken; a slow tunnel takes megabytes at once, then nothing for a while


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol; heads of requests are bounded in time and size, answers in the time they wait.

    Bodies are bounded by ``rho2prop.app.guard``, open web sockets by uvicorn's pings.
    """

    head_s, read_s, most_connections = HEAD_S, READ_S, MOST_CONNECTIONS

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Accept a connection, or end it at once if there are too many."""
        super().connection_made(transport)
        self._head_timer: asyncio.TimerHandle | None = None
        self._read_timer: asyncio.TimerHandle | None = None
        self._in_head, self._head_bytes = False, 0
        if len(self.connections) > self.most_connections:
            transport.abort()
        else:
            self._head_timer = self.loop.call_later(self.head_s, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Parse received bytes; while no request is being answered, the time runs."""
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self.transport.get_protocol() is not self:  # a web socket by now
            self._stop_timers()
            return
        self._head_bytes = self._head_bytes + len(data) if self._in_head else 0
        if self._head_bytes > MOST_HEAD_BYTES:
            self.transport.abort()
        elif self.cycle is not None and not self.cycle.response_complete:
            self._stop_head_timer()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_s, self.transport.abort)

    def on_message_begin(self) -> None:
        """Start of a request head."""
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        """End of a request head."""
        super().on_headers_complete()
        self._in_head = False

    def pause_writing(self) -> None:
        """The client has stopped reading: the time runs."""
        super().pause_writing()
        self._read_timer = self.loop.call_later(self.read_s, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        self._stop_read_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        super().connection_lost(exc)
        self._stop_timers()

    def _stop_timers(self) -> None:
        self._stop_head_timer()
        self._stop_read_timer()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_read_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None
