"""One visitor's tab: a private folder that exists only while it is needed, and the job that runs for it."""

import asyncio
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path

import psutil
from starlette.requests import ClientDisconnect, Request

from rho2prop.app.settings import Settings, in_mb, safe_name
from rho2prop.errors import InputError

PREFIX = "rho2prop-app-"
BUFFER_BYTES = 4 << 20
MOST_UPLOADS = 8  # at the same time
SPARE_BYTES = 200_000_000  # of the disk that an upload leaves free


class Session:
    """What belongs to one open page.

    Attributes
    ----------
    token
        Secret name of the session in the addresses of its uploads and downloads.
    on_start, on_file, on_problem
        What the page does when an upload begins, with the uploaded file, and with a message why there is none.
    """

    def __init__(self, home: Path):
        self.token = secrets.token_urlsafe(24)
        self.on_start: Callable[[], None] = lambda: None
        self.on_file: Callable[[Path], None] = lambda path: None
        self.on_problem: Callable[[str], None] = lambda text: None
        self._home = home
        self._folder: Path | None = None
        self._task: asyncio.Task | None = None

    @property
    def folder(self) -> Path:
        """Private folder, made when first asked for."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(dir=self._home))
        return self._folder

    def file(self, name: str) -> Path | None:
        """A file of this page by its bare name, if it is there."""
        if self._folder is None or name != safe_name(name):
            return None
        path = self._folder / name
        return path if path.is_file() else None

    def start(self, work: Coroutine) -> None:
        """Run the page's work in the background, instead of what still runs."""
        self.cancel()
        self._task = asyncio.create_task(work)

    def cancel(self) -> None:
        """Stop what runs for this page."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
        self._task = None

    def clear(self) -> None:
        """Remove every file of this page."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


class Sessions:
    """All open pages and the one folder that holds their files."""

    def __init__(self, settings: Settings):
        self._settings = settings
        remove_leftovers()
        self.home = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))  # mode 700
        self._open: dict[str, Session] = {}
        self._n_uploads = 0

    def open(self) -> Session:
        """A session for a new page."""
        session = Session(self.home)
        self._open[session.token] = session
        return session

    def get(self, token: str) -> Session | None:
        """The open session of this token."""
        return self._open.get(token)

    def close(self, session: Session) -> None:
        """Stop and remove all that belongs to a page that was closed."""
        self._open.pop(session.token, None)
        task = session._task
        session.cancel()
        if task is None or task.done():
            session.clear()
        else:
            task.add_done_callback(lambda _: session.clear())  # the worker is gone by then and writes no more

    def stop(self) -> None:
        """Remove every file of every page."""
        shutil.rmtree(self.home, ignore_errors=True)

    async def receive(self, session: Session, request: Request) -> Path | None:
        """Stream the body of a request to a file of the session; None if the browser went away.

        Raises
        ------
        InputError
            If it is too large or there is no room for it. Nothing is left then.
        """
        session.cancel()
        session.clear()
        session.on_start()
        name = safe_name(request.query_params.get("name", ""))
        limit = self._settings.max_upload_bytes
        if int(request.headers.get("content-length", "0")) > limit:
            raise _too_large(name, limit)
        if self._n_uploads >= MOST_UPLOADS:
            raise InputError("app", f"{MOST_UPLOADS} files are being uploaded already", "Try again in a minute")
        path = session.folder / name
        self._n_uploads += 1
        try:
            await self._stream(request, path, limit)
        except ClientDisconnect:
            session.clear()
            return None
        except BaseException:
            session.clear()
            raise
        finally:
            self._n_uploads -= 1
        return path

    async def _stream(self, request: Request, path: Path, limit: int) -> None:
        received, buffer = 0, bytearray()
        with open(path, "xb") as file:
            async for chunk in request.stream():
                received += len(chunk)
                if received > limit:
                    raise _too_large(path.name, limit)
                buffer += chunk
                if len(buffer) >= BUFFER_BYTES:
                    await asyncio.to_thread(self._append, file, bytes(buffer))
                    buffer.clear()
            await asyncio.to_thread(self._append, file, bytes(buffer))

    def _append(self, file, content: bytes) -> None:
        if shutil.disk_usage(self.home).free < len(content) + SPARE_BYTES:
            raise InputError("app", "the disk of this machine is nearly full", "Try again when there is room")
        file.write(content)


def _too_large(name: str, limit: int) -> InputError:
    return InputError(name, f"is larger than {in_mb(limit)}", "Compress it (.xz, .gz), or raise --max-upload-mb")


def remove_leftovers() -> None:
    """Remove the folders of this user's apps that were killed before they could."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        pid = folder.name.removeprefix(PREFIX).split("-")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)) and folder.stat().st_uid == os.getuid():
            shutil.rmtree(folder, ignore_errors=True)
