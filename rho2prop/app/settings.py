"""Settings of the app, checked before anything is served."""

import re
import sys
import unicodedata
from dataclasses import dataclass, replace
from pathlib import Path

from rho2prop.core.errors import InputError, escaped
from rho2prop.prediction.bundle.checks import read_manifest

MB = 1_000_000
N_WORKERS = 2
QUEUE_LENGTH = 8
TIME_LIMIT_S = 900.0
SHUTDOWN_S = 2  # for open pages when the app ends
UNPACKED_PER_UPLOAD = 4  # a CHGCAR shrinks to about a third; what grows more than this is refused
BASE_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*")
LONGEST_NAME_BYTES = 100
LONGEST_SHOWN = 200  # characters of a path that a visitor typed
ALLOWED_HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?|\[[0-9a-fA-F:]+\](:[0-9]{1,5})?")


@dataclass(frozen=True)
class Settings:
    """Places, addresses and limits of a running app.

    Parameters
    ----------
    bundle, database, report
        Model bundle, latent database and report that are shown; the latter two may be missing.
    host, port
        Address to listen on; port 0 selects a free one.
    base_path
        Path in front of all pages, for a proxy; ``""`` or ``"/name"`` once checked.
    root
        Folder whose files may be named in the app; None: no file of this machine may be named.
    max_upload_mb
        Largest upload, 10⁶ bytes; four times as much after decompression.
    allowed_hosts
        Host names beside the loopback ones under which the app answers; with ``:port`` where a proxy listens on
        another port than that of its scheme.
    """

    bundle: Path
    database: Path
    report: Path
    host: str = "127.0.0.1"
    port: int = 8080
    base_path: str = ""
    root: Path | None = None
    max_upload_mb: float = 500
    allowed_hosts: frozenset[str] = frozenset()

    @property
    def max_upload_bytes(self) -> int:
        """Most bytes of a file as it comes."""
        return int(self.max_upload_mb * MB)

    @property
    def max_unpacked_bytes(self) -> int:
        """Most bytes of a file after decompression."""
        return UNPACKED_PER_UPLOAD * self.max_upload_bytes


def check_settings(settings: Settings) -> Settings:
    """Return the settings with paths resolved and names in normal form, or raise InputError."""
    read_manifest(settings.bundle)  # a bundle that cannot be used is said now, not to the first visitor
    base = "/" + settings.base_path.strip("/") if settings.base_path.strip("/") else ""
    if not BASE_PATH.fullmatch(base):
        problem = f"{settings.base_path!r} is not a path of plain names"
        raise InputError("base path", problem, "Give for example /rho2prop")
    if not 0 <= settings.port <= 65535:
        raise InputError("port", f"{settings.port} is not a port", "Give a number up to 65535; 0 takes a free one")
    if settings.max_upload_mb <= 0:
        raise InputError("upload limit", f"is {settings.max_upload_mb} MB", "Give a positive number")
    if settings.root is not None and not settings.root.is_dir():
        raise InputError(settings.root, "is not a folder", "Give the folder whose files may be read in the app")
    for name in settings.allowed_hosts:
        if not ALLOWED_HOST.fullmatch(name):
            problem = f"{name!r} is not a host name"
            raise InputError("allowed host", problem, "Give for example tools.example.org or tools.example.org:8443")
    return replace(
        settings,
        bundle=settings.bundle.resolve(),
        database=settings.database.resolve(),
        report=settings.report.resolve(),
        base_path=base,
        root=None if settings.root is None else settings.root.resolve(),
        allowed_hosts=frozenset(name.lower() for name in settings.allowed_hosts),
    )


def safe_name(name: str) -> str:
    """A safe file name from a name that a browser sends; never a path, never empty or hidden.

    Letters and digits of every script stay, and so does what follows the first dot: the endings decide the format.
    """
    last = unicodedata.normalize("NFC", re.split(r"[/\\]", name)[-1])
    encoding = sys.getfilesystemencoding()
    kept = re.sub(r"[^\w.+-]+", "_", last.encode(encoding, "replace").decode(encoding))
    stem, _, endings = kept.partition(".")
    stem, endings = stem.lstrip("_-"), endings.strip(".")
    kept = (stem or "unnamed") + (f".{endings}" if endings else "")
    # the end is kept; a character that the cut halves goes
    return kept.encode(encoding)[-LONGEST_NAME_BYTES:].decode(encoding, "ignore").lstrip("._-") or "unnamed"


def path_below(root: Path | None, text: str, max_bytes: int) -> Path:
    """The file that a user names, if it is below ``root`` after all links are resolved.

    Parameters
    ----------
    root
        Resolved folder, or None: no file may be named.
    text
        Path, absolute or relative to ``root``.
    max_bytes
        Largest file that is read.

    Raises
    ------
    InputError
        If there is no such regular file below ``root``. What lies outside is not told apart from what is missing.
    """
    if root is None:
        raise InputError("path", "the app was started without a folder to read from", "Start it with --root FOLDER")
    shown = escaped(text.strip())[:LONGEST_SHOWN]
    hint = "Give a density file in the folder of --root, or drop it on the page"
    missing = InputError(shown or "path", "is not a file that the app may read", hint)
    if not text.strip():
        raise missing
    try:
        path = (root / text.strip()).resolve(strict=True)
        n_bytes = path.stat().st_size
    except (OSError, ValueError, RuntimeError) as error:  # a zero in the name; links in a circle
        raise missing from error
    if not path.is_relative_to(root) or not path.is_file():
        raise missing
    if n_bytes > max_bytes:
        raise InputError(shown, f"is {in_mb(n_bytes)} large", f"The app reads up to {in_mb(max_bytes)}")
    return path


def in_mb(n_bytes: int) -> str:
    """A size as text: ``12.5 MB``."""
    return f"{n_bytes / MB:,.1f} MB" if n_bytes < 100 * MB else f"{n_bytes / MB:,.0f} MB"
