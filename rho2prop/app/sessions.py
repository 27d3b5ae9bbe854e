"""Sessions, one per open tab: private folders that exist only while needed, and the running job."""

import asyncio
import secrets
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, BinaryIO

from starlette.requests import ClientDisconnect, Request

from rho2prop.app.settings import Settings, in_mb, safe_name
from rho2prop.core.errors import InputError

BUFFER_BYTES = 4 << 20
MOST_UPLOADS = 8  # at the same time
SPARE_BYTES = 200_000_000  # of the disk that an upload leaves free


class Work:
    """One file of a page and its processing: a private folder and at most one job.

    It ends as a whole, so that the next work of the same page meets nothing of it.
    """

    def __init__(self, home: Path):
        self._home = home
        self._folder: Path | None = None
        self._task: asyncio.Task | None = None
        self.has_ended = False

    @property
    def folder(self) -> Path:
        """Private folder, created on first use."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(dir=self._home))
        return self._folder

    def file(self, name: str) -> Path | None:
        """A file of this work by its bare name, or None."""
        if self._folder is None or name != safe_name(name):
            return None
        path = self._folder / name
        return path if path.is_file() else None

    def start(self, job: Callable[..., Awaitable[bool]], *arguments: Any) -> None:
        """Run ``job(work, *arguments)`` in the background; the files are removed afterwards unless it returns True."""
        self._task = asyncio.create_task(self._run(job, arguments))

    async def _run(self, job: Callable[..., Awaitable[bool]], arguments: tuple) -> None:
        keeps_files = False
        try:
            keeps_files = await job(self, *arguments)
        finally:
            if not keeps_files:
                self.clear()

    def end(self) -> None:
        """Stop the job and remove the files."""
        self.has_ended = True
        if self._task is None or self._task.done():
            self.clear()
        else:
            self._task.add_done_callback(lambda _: self.clear())  # the worker is gone by then and writes no more
            self._task.cancel()

    def clear(self) -> None:
        """Remove the files."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


class Session:
    """State of one open page.

    Attributes
    ----------
    token
        Secret name of the session in the addresses of its uploads and downloads.
    on_start, on_file, on_problem
        What the page does when an upload begins, with the uploaded file and its work, and with a message why there
        is none.
    """

    def __init__(self, home: Path):
        self.token = secrets.token_urlsafe(24)
        self.on_start: Callable[[], None] = lambda: None
        self.on_file: Callable[[Work, Path], None] = lambda work, path: None
        self.on_problem: Callable[[str], None] = lambda text: None
        self._home = home
        self.work = Work(home)

    def begin(self) -> Work:
        """New work for this page; a running job is stopped and its files are removed."""
        self.work.end()
        self.work = Work(self._home)
        return self.work


class Sessions:
    """All open pages and the one folder that holds their files.

    Parameters
    ----------
    settings
        Of the app.
    home
        Private folder.
    """

    def __init__(self, settings: Settings, home: Path):
        self._settings, self.home = settings, home
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
        """Stop the job and remove the files of a closed page."""
        self._open.pop(session.token, None)
        session.work.end()

    async def receive(self, session: Session, request: Request) -> bool:
        """Stream the body of a request to a file of new work of the session and pass that to the page.

        Returns
        -------
        bool
            False if the body broke off, or the page was closed or turned to other work before it was whole.

        Raises
        ------
        InputError
            If it is too large or there is no room for it. Nothing is left then.
        """
        work = session.begin()
        session.on_start()
        name = safe_name(request.query_params.get("name", ""))
        limit = self._settings.max_upload_bytes
        stated = request.headers.get("content-length", "0")
        if not stated.isdigit() or int(stated[:20]) > limit:
            raise _too_large(name, limit)
        if self._n_uploads >= MOST_UPLOADS:
            raise InputError("app", f"{MOST_UPLOADS} uploads are already in progress", "Try again in a minute")
        self._n_uploads += 1
        try:
            path = work.folder / name
            await self._stream(request, path, limit, work)
        except ClientDisconnect:
            work.end()
            return False
        except OSError as error:
            work.end()
            if session.work is not work:  # its folder went while it came
                return False
            raise InputError(
                name, f"cannot be stored ({error.strerror})", "Try again, or contact the operator of the app"
            ) from error
        except BaseException:
            work.end()
            raise
        finally:
            self._n_uploads -= 1
        if work.has_ended:
            work.clear()
            return False
        session.on_file(work, path)
        return True

    async def _stream(self, request: Request, path: Path, limit: int, work: Work) -> None:
        received, buffer = 0, bytearray()
        with open(path, "xb") as file:
            async for chunk in request.stream():
                if work.has_ended:
                    return
                received += len(chunk)
                if received > limit:
                    raise _too_large(path.name, limit)
                buffer += chunk
                if len(buffer) >= BUFFER_BYTES:
                    await asyncio.to_thread(self._append, file, bytes(buffer))
                    buffer.clear()
            await asyncio.to_thread(self._append, file, bytes(buffer))

    def _append(self, file: BinaryIO, content: bytes) -> None:
        if shutil.disk_usage(self.home).free < len(content) + SPARE_BYTES:
            raise InputError("app", "the disk of this machine is nearly full", "Try again when space has been freed")
        file.write(content)


def _too_large(name: str, limit: int) -> InputError:
    return InputError(name, f"is larger than {in_mb(limit)}", "Compress it (.xz, .gz), or raise --max-upload-mb")
