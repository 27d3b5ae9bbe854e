"""Checks of every request: host and origin, size of the body; adds security headers."""

import asyncio
import ipaddress
import time
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rho2prop.app.settings import Settings

# Vue compiles its templates in the browser and NiceGUI starts from inline scripts: both need the "unsafe" words. No
# other address than the app's own is ever allowed.
PAGE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
    "frame-src 'self'; frame-ancestors 'self'; object-src 'none'; base-uri 'self'; form-action 'self'"
)
PORTS = {"http": 80, "https": 443}
IDLE_S = 30.0  # that a body may pause
GRACE_S = 60.0  # after which its average rate must be at least
SLOWEST_BYTES_PER_S = 20_000
MOST_OTHER_BYTES = 1_000_000  # of a body that is not an upload
HEADERS = {
    "Content-Security-Policy": PAGE_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Guard:
    """ASGI application around the app.

    Requests whose ``Host`` or ``Origin`` names another site are refused: a page of the internet that makes its own
    name point to 127.0.0.1 (DNS rebinding), or a page of another server on this machine that opens a web socket to
    the app, gets no answer. Requests without the base path get it here, so that the app works behind a proxy that
    strips it, behind one that does not, and without.

    Parameters
    ----------
    app
        Application that gets what is let through. A body that stalls, comes too slowly or is too large looks to it
        like a browser that went away.
    settings
        Of the app.
    idle_s, grace_s
        How long a body may pause, and after how long its mean rate is looked at.
    """

    def __init__(self, app: ASGIApp, settings: Settings, idle_s: float = IDLE_S, grace_s: float = GRACE_S):
        self.app, self.settings, self._idle_s, self._grace_s = app, settings, idle_s, grace_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, forward or refuse one request."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        # NiceGUI would write a forwarded prefix into its pages; ours comes from the settings alone.
        headers = [(name, value) for name, value in scope["headers"] if name != b"x-forwarded-prefix"]
        hosts, origins = (
            [value.decode("latin-1") for name, value in headers if name == wanted] for wanted in (b"host", b"origin")
        )
        if len(hosts) != 1 or len(origins) > 1 or not self._is_ours(hosts[0]):
            await _refuse(scope, receive, send)
            return
        if (origins and not self._is_our_origin(origins[0], hosts[0])) or not scope["path"].isprintable():
            await _refuse(scope, receive, send)
            return
        path = self._with_base(scope["path"])
        scope = {**scope, "headers": headers, "path": path, "raw_path": path.encode()}
        if scope["type"] == "http":
            is_upload = path.startswith(f"{self.settings.base_path}/upload/")
            # a little more than the limit: the upload itself says that it is too large
            most_bytes = MOST_OTHER_BYTES + (self.settings.max_upload_bytes if is_upload else 0)
            receive = _bounded(receive, most_bytes, self._idle_s, self._grace_s)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    answer.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_with_headers)

    def _with_base(self, path: str) -> str:
        base = self.settings.base_path
        if path == base:
            return f"{base}/"
        return path if path.startswith(f"{base}/") else base + path

    def _is_our_origin(self, origin: str, host: str) -> bool:
        """Whether a page of this origin may use the app.

        It may if it is the app's own (host and port are those that the request was sent to), or the site of a proxy
        that --allow-host names, with the port given there or that of its scheme.
        """
        place, own = _parts(origin), _parts(f"//{host}")
        if place is None or own is None or place.scheme not in PORTS:
            return False
        port = place.port or PORTS[place.scheme]
        if place.hostname == own.hostname and port == (own.port or PORTS[place.scheme]):
            return True
        allowed = [_parts(f"//{name}") for name in self.settings.allowed_hosts]
        return any(
            place.hostname == name.hostname and port == (name.port or PORTS[place.scheme]) for name in allowed if name
        )

    def _is_ours(self, host: str) -> bool:
        parts = _parts(f"//{host}")
        name = parts.hostname if parts is not None else None
        if name is None:
            return False
        allowed = [_parts(f"//{given}") for given in self.settings.allowed_hosts]
        if name == "localhost" or name in [given.hostname for given in allowed if given]:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        # An address cannot be rebound. Others than loopback mean something only where the app listens to them.
        return address.is_loopback or not _is_loopback(self.settings.host)


def _parts(text: str) -> SplitResult | None:
    """Scheme, host and port of an origin, or of a host after two slashes; None if anything else is in it."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # a ValueError if it is none
    except ValueError:
        return None
    is_bare = parts.hostname and "@" not in parts.netloc and not (parts.path or parts.query or parts.fragment)
    return parts if is_bare else None


def _bounded(receive: Receive, most_bytes: int, idle_s: float, grace_s: float) -> Receive:
    """Messages of a request; a body that is too slow or too large ends as if the browser had disconnected."""
    started, received, is_whole, is_broken = time.monotonic(), 0, False, False

    async def receive_in_time() -> Message:
        nonlocal received, is_whole, is_broken
        if is_whole:
            return await receive()
        if not is_broken:
            # what came so far pays for the time that it may have taken
            rest_s = started + grace_s + received / SLOWEST_BYTES_PER_S - time.monotonic()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, min(idle_s, rest_s)))
            except TimeoutError:
                is_broken = True
            else:
                received += len(message.get("body", b""))
                is_broken = received > most_bytes
                is_whole = not is_broken and not message.get("more_body", False)
        return {"type": "http.disconnect"} if is_broken else message

    return receive_in_time


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
        return
    text = "The app does not answer to this host name. Use http://127.0.0.1, or start the app with --allow-host NAME."
    await PlainTextResponse(text, status_code=421)(scope, receive, send)
