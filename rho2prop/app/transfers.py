"""Routes beside the pages: uploads, downloads, the report."""

from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, PlainTextResponse, Response

from rho2prop.app.plain_text import for_page
from rho2prop.app.sessions import Sessions
from rho2prop.core.errors import InputError

# The report is one file without scripts; nothing it holds may run or be fetched.
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; frame-ancestors 'self'; "
    "sandbox allow-popups"
)


def add_transfers(app: FastAPI, sessions: Sessions, report: Path, base: str) -> None:
    """Add the routes that are not pages.

    Parameters
    ----------
    app
        Application that gets them.
    sessions
        Open pages; each address but the report's holds the secret token of one.
    report
        File of the report; it may be missing.
    base
        Path in front of all addresses, "" or "/name".
    """

    @app.post(f"{base}/upload/{{token}}")
    async def upload(token: str, request: Request) -> Response:
        session = sessions.get(token)
        if session is None:
            return PlainTextResponse("This page is closed. Reload it.", status_code=404)
        try:
            arrived = await sessions.receive(session, request)
        except InputError as error:
            text = for_page(str(error), sessions.home)
            session.on_problem(text)
            return PlainTextResponse(text, status_code=413)
        if not arrived:
            text = "The upload was interrupted, was too slow, or was replaced by other work."
            return PlainTextResponse(text, status_code=408, headers={"Connection": "close"})
        return Response(status_code=204)

    @app.post(f"{base}/close/{{token}}")
    async def close(token: str) -> Response:
        session = sessions.get(token)
        if session is not None:
            sessions.close(session)
        return Response(status_code=204)

    @app.get(f"{base}/files/{{token}}/{{name}}")
    async def download(token: str, name: str) -> Response:
        session = sessions.get(token)
        path = session.work.file(name) if session is not None else None
        if path is None:
            return PlainTextResponse("This file no longer exists. Save it again.", status_code=404)
        return FileResponse(path, filename=name, media_type="application/octet-stream")

    @app.get(f"{base}/report.html")
    async def report_file() -> Response:
        if not report.is_file():
            return PlainTextResponse("There is no report.", status_code=404)
        headers = {"Content-Security-Policy": REPORT_POLICY, "Cache-Control": "no-cache"}
        return FileResponse(report, media_type="text/html", headers=headers)
