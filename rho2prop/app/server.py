"""The web server: pages, uploads, downloads, start and end."""

import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, PlainTextResponse, Response
from nicegui import ui

from rho2prop.app.context import Context
from rho2prop.app.guard import Guard
from rho2prop.app.latents_page import LatentsPage
from rho2prop.app.main import N_WORKERS, QUEUE_LENGTH, SHUTDOWN_S, TIME_LIMIT_S
from rho2prop.app.predict_page import PredictPage
from rho2prop.app.report_page import REPORT_POLICY, report_page
from rho2prop.app.sessions import Sessions
from rho2prop.app.settings import Settings
from rho2prop.app.workers import WorkerPool
from rho2prop.errors import InputError

TITLE = "rho2prop"
RECONNECT_S = 30.0  # a page keeps its work when the tunnel hangs or the browser draws for as long


class _Server(uvicorn.Server):
    """A server that says when it answers."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]):
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()


def serve(settings: Settings, listener: socket.socket, on_ready: Callable[[], None]) -> None:
    """Serve until a signal ends it; nothing is left of workers and files then."""
    context = Context(settings, WorkerPool(settings.bundle, N_WORKERS, QUEUE_LENGTH, TIME_LIMIT_S), Sessions(settings))
    try:
        context.pool.start()
        app = _make_app(context)
        config = uvicorn.Config(
            Guard(app, settings),
            log_level="warning",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=SHUTDOWN_S,
        )
        _Server(config, on_ready).run(sockets=[listener])
    finally:
        context.pool.stop()
        context.sessions.stop()


def _make_app(context: Context) -> FastAPI:
    base = context.settings.base_path
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.post(f"{base}/upload/{{token}}")
    async def upload(token: str, request: Request) -> Response:
        session = context.sessions.get(token)
        if session is None:
            return PlainTextResponse("This page is closed: load it again.", status_code=404)
        try:
            path = await context.sessions.receive(session, request)
        except InputError as error:
            session.on_problem(str(error))
            return PlainTextResponse(str(error), status_code=413)
        if path is not None:
            session.on_file(path)
        return Response(status_code=204)

    @app.post(f"{base}/close/{{token}}")
    async def close(token: str) -> Response:
        session = context.sessions.get(token)
        if session is not None:
            context.sessions.close(session)
        return Response(status_code=204)

    @app.get(f"{base}/files/{{token}}/{{name}}")
    async def download(token: str, name: str) -> Response:
        session = context.sessions.get(token)
        path = session.file(name) if session is not None else None
        if path is None:
            return PlainTextResponse("This file is gone: save it again.", status_code=404)
        return FileResponse(path, filename=name, media_type="application/octet-stream")

    @app.get(f"{base}/report.html")
    async def report() -> Response:
        if not context.settings.report.is_file():
            return PlainTextResponse("There is no report.", status_code=404)
        headers = {"Content-Security-Policy": REPORT_POLICY, "Cache-Control": "no-cache"}
        return FileResponse(context.settings.report, media_type="text/html", headers=headers)

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
