"""What stands before every request: host and origin are checked, headers for the browser's safety are added."""

import ipaddress
from urllib.parse import urlsplit

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
    name point to 127.0.0.1 (DNS rebinding), or that opens a web socket to it, gets no answer. Requests without the
    base path get it here, so that the app works behind a proxy that strips it, behind one that does not, and without.
    """

    def __init__(self, app: ASGIApp, settings: Settings):
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, pass on or refuse one request."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        # NiceGUI would write a forwarded prefix into its pages; ours comes from the settings alone.
        headers = [(name, value) for name, value in scope["headers"] if name != b"x-forwarded-prefix"]
        named = {name: value.decode("latin-1") for name, value in headers}
        if not self._is_ours(named.get(b"host", "")) or not self._is_our_origin(named.get(b"origin")):
            await _refuse(scope, receive, send)
            return
        path = self._with_base(scope["path"])
        scope = {**scope, "headers": headers, "path": path, "raw_path": path.encode()}

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

    def _is_our_origin(self, origin: str | None) -> bool:
        return origin is None or self._is_ours(urlsplit(origin).netloc)

    def _is_ours(self, netloc: str) -> bool:
        try:
            name = urlsplit(f"//{netloc}").hostname or ""
        except ValueError:
            return False
        if name == "localhost" or name in self.settings.allowed_hosts:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        # An address cannot be rebound. Others than loopback mean something only where the app listens to them.
        return address.is_loopback or not _is_loopback(self.settings.host)


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
    text = "This address is not one that the app answers to. Use http://127.0.0.1, or start it with --allow-host NAME."
    await PlainTextResponse(text, status_code=421)(scope, receive, send)
