"""Start the app: ``run`` serves it until it is interrupted."""

import os
import signal
import socket

from rho2prop.app.leftovers import private_folder
from rho2prop.app.plain_text import printable_stderr
from rho2prop.app.settings import Settings, check_settings
from rho2prop.core.errors import InputError


def run(settings: Settings) -> None:
    """Serve the app until SIGINT, SIGTERM or SIGHUP; then remove everything it wrote and end with 128 + the signal.

    Parameters
    ----------
    settings
        As given, not checked yet. The address is printed when the app is ready.

    Raises
    ------
    InputError
        If a value cannot be used or the port is taken.
    """
    settings = check_settings(settings)
    listener = _listen(settings)
    # uvicorn raises the signal that ended it once more: without a handler the process would end on the spot, and its
    # files and workers would stay
    signal.signal(signal.SIGINT, _end)
    signal.signal(signal.SIGTERM, _end)
    if hasattr(signal, "SIGHUP"):  # not on Windows
        signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))  # the terminal was closed
    with printable_stderr(), private_folder() as home:
        # NiceGUI looks for its storage when it is imported: by default in the working directory
        os.environ["NICEGUI_STORAGE_PATH"] = str(home / "storage")
        os.environ["TMPDIR"] = str(home)  # what the libraries of the workers leave goes too
        from rho2prop.app.server import serve

        address = f"http://{_shown(settings.host)}:{listener.getsockname()[1]}{settings.base_path}/"
        serve(settings, home, listener, lambda: print(f"rho2prop app: {address}", flush=True))


def _end(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def _listen(settings: Settings) -> socket.socket:
    try:
        return socket.create_server(
            (settings.host, settings.port), family=socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        )
    except OSError as error:
        place = f"{settings.host}:{settings.port}"
        raise InputError(place, f"cannot listen ({error.strerror})", "Choose another --port") from error


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
