"""The app as a user starts it, in a process of its own, and a browser that may talk to nothing else."""

import http.client
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from playwright.sync_api import Browser, Page, expect, sync_playwright

ROOT = Path(__file__).parents[2]
CHROMIUM = "/usr/bin/chromium"
MAX_UPLOAD_MB = 2
# Software rendering: WebGL without a graphics card. The resolver rule makes every other host unknown.
FLAGS = [
    "--no-sandbox",
    "--no-proxy-server",
    "--enable-unsafe-swiftshader",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]
WAIT_MS = 90_000  # for the slowest answer on a busy machine; a good one returns at once
expect.set_options(timeout=WAIT_MS)


class App:
    """A running app: its address, its process and the temporary folder that it writes to."""

    def __init__(self, process: subprocess.Popen, address: str, temporary: Path):
        self.process, self.address, self.temporary = process, address, temporary

    def terminal(self) -> str:
        """What it wrote to the terminal that it runs in, apart from its address."""
        return terminal_file(self.temporary).read_text()

    def files(self) -> list[str]:
        """Names of all files that the app keeps at the moment, apart from NiceGUI's empty storage."""
        return sorted(path.name for path in self.temporary.rglob("*") if path.is_file())

    def workers(self) -> list[psutil.Process]:
        """Its worker processes."""
        return [
            child for child in psutil.Process(self.process.pid).children() if "spawn_main" in " ".join(child.cmdline())
        ]

    def request(
        self, method: str, path: str, headers: dict | None = None, body=None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (lower case) and body of one plain request."""
        connection = http.client.HTTPConnection("127.0.0.1", urlsplit(self.address).port, timeout=60)
        try:
            headers = headers or {}
            connection.request(method, path, body, headers, encode_chunked="Transfer-Encoding" in headers)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()


def until(condition: Callable[[], bool], most_looks: int = 2_000_000) -> None:
    """Look until a condition holds: a minute or more, then the test fails instead of hanging."""
    assert any(condition() for _ in range(most_looks))


def terminal_file(temporary: Path) -> Path:
    """Where the standard error of an app goes."""
    return temporary.with_name(f"{temporary.name}-terminal.txt")


@contextmanager
def running_app(temporary: Path, *options: str) -> Iterator[App]:
    """Start ``rho2prop app`` with a free port and end it as Ctrl-C does."""
    temporary.mkdir(parents=True, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    environment |= {"TMPDIR": str(temporary), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with open(terminal_file(temporary), "w") as terminal:
        process = subprocess.Popen(
            [sys.executable, "-m", "rho2prop", "app", "--port", "0", *options],
            cwd=temporary,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=terminal,
            text=True,
        )
    try:
        line = process.stdout.readline()
        assert line.startswith("rho2prop app: http://127.0.0.1:"), terminal_file(temporary).read_text()
        yield App(process, line.split()[-1], temporary)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        process.stdout.close()


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Debian's Chromium without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def watched_page(browser: Browser, width: int = 1100, height: int = 900) -> Iterator[Page]:
    """A page of a fresh visitor; nothing but the loopback may be asked for, nothing may break the policy."""
    context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    asked, complaints = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
    yield page
    context.close()
    foreign = [url for url in asked if urlsplit(url).scheme not in ("data", "blob") and not _is_loopback(url)]
    assert asked
    assert not foreign
    assert not [text for text in complaints if "Content Security Policy" in text]


def _is_loopback(url: str) -> bool:
    return urlsplit(url).hostname == "127.0.0.1"


def upload(page: Page, *files: Path | dict) -> None:
    """Choose a file in the upload box."""
    page.locator("[data-testid=upload] input[type=file]").set_input_files(files[0])


def plot(page: Page, test_id: str) -> dict:
    """What plotly holds of a drawing: number of vertices and triangles, extent, largest value."""
    return page.evaluate(
        """id => {
            const [first] = document.querySelector(`[data-testid=${id}]`)._fullData;
            const rows = first.type === 'heatmap' ? Array.from(first.z) : [first.x];
            const all = rows.flatMap(row => Array.from(row));
            const finite = all.filter(Number.isFinite);
            return {type: first.type, n: all.length, n_finite: finite.length,
                    triangles: first.i ? first.i.length : 0,
                    low: Math.min(...finite), high: Math.max(...finite)};
        }""",
        test_id,
    )


def wait_for_plot(page: Page, test_id: str) -> dict:
    """As ``plot``, once it is drawn."""
    page.wait_for_function(
        "id => document.querySelector(`[data-testid=${id}]`)?._fullData?.length > 0", arg=test_id, timeout=WAIT_MS
    )
    return plot(page, test_id)
