"""The web server: pages, start and shutdown."""

import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from nicegui import ui

from rho2prop.app.connections import BoundedProtocol
from rho2prop.app.context import Context
from rho2prop.app.guard import Guard
from rho2prop.app.latents_page import LatentsPage
from rho2prop.app.predict_page import PredictPage
from rho2prop.app.report_page import report_page
from rho2prop.app.sessions import Sessions
from rho2prop.app.settings import N_WORKERS, QUEUE_LENGTH, SHUTDOWN_S, TIME_LIMIT_S, Settings
from rho2prop.app.transfers import add_transfers
from rho2prop.app.workers import WorkerPool

TITLE = "rho2prop"
MOST_MESSAGE_BYTES = 1_000_000  # that a browser sends through its web socket
RECONNECT_S = 30.0  # a page keeps its work when the tunnel hangs or the browser draws for as long


class _Server(uvicorn.Server):
    """A server that says when it answers."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]):
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()


def serve(settings: Settings, home: Path, listener: socket.socket, on_ready: Callable[[], None]) -> None:
    """Serve until a signal arrives, with all files below ``home``; all workers are ended."""
    pool = WorkerPool(settings.bundle, N_WORKERS, QUEUE_LENGTH, TIME_LIMIT_S)
    context = Context(settings, pool, Sessions(settings, home))
    try:
        context.pool.start()
        app = _make_app(context)
        config = uvicorn.Config(
            Guard(app, settings),
            log_level="warning",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=SHUTDOWN_S,
            http=BoundedProtocol,
            ws_max_size=MOST_MESSAGE_BYTES,
        )
        _Server(config, on_ready).run(sockets=[listener])
    finally:
        context.pool.stop()


def _make_app(context: Context) -> FastAPI:
    base = context.settings.base_path
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    add_transfers(app, context.sessions, context.settings.report, base)

    @ui.page("/")
    def predict() -> None:
        PredictPage(context)

    @ui.page("/latents")
    def latents() -> None:
        LatentsPage(context)

    @ui.page("/report")
    def show_report() -> None:
        report_page(context)

    ui.run_with(app, title=TITLE, mount_path=base or "/", reconnect_timeout=RECONNECT_S, show_welcome_message=False)
    return app
