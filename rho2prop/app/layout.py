"""Parts shared by all pages: header, navigation, messages, progress line."""

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nicegui import ui

from rho2prop.app.context import Context
from rho2prop.app.plain_text import for_page
from rho2prop.core.errors import InputError, escaped

PAGES = {"/": "Predict", "/latents": "Latent database", "/report": "Report"}
COLOURS = {"error": "bg-red-50 text-red-900", "warning": "bg-amber-50 text-amber-900", "note": "bg-sky-50 text-sky-900"}


@contextmanager
def frame(path: str) -> Iterator[None]:
    """Header with navigation; elements created inside become the content of the page."""
    ui.colors(primary="#0072B2")
    with ui.header().classes("items-center gap-6 py-2"):
        ui.label("rho2prop").classes("text-lg font-bold")
        for target, name in PAGES.items():
            weight = "font-bold underline" if target == path else "opacity-80"
            ui.link(name, target).classes(f"text-white no-underline {weight}")
    with ui.column().classes("w-full max-w-6xl mx-auto p-4 gap-4"):
        yield


def message(kind: str, text: str) -> None:
    """A coloured box with a text; ``kind`` is error, warning or note."""
    with ui.element("div").classes(f"w-full rounded p-3 {COLOURS[kind]}").props(f"data-testid={kind}"):
        ui.label(escaped(text, kept="\n")).classes("whitespace-pre-line break-words")


def failure_text(error: Exception, context: Context) -> str:
    """Message for a visitor about a failure; unexpected errors go to the terminal, not to the page."""
    if not isinstance(error, InputError):
        traceback.print_exception(error, file=sys.stderr)
        return "Something went wrong in the app. Details are in the terminal in which it runs."
    settings = context.settings
    folders = [settings.bundle, settings.database.parent, settings.report.parent, context.sessions.home, Path.home()]
    return for_page(str(error), *folders)


class ProgressLine:
    """A bar, a line of text and a button to stop, visible while something runs."""

    def __init__(self, on_stop: Callable[[], object]):
        with ui.row().classes("w-full items-center no-wrap").props("data-testid=progress") as self._row:
            ui.spinner(size="sm")
            self._text = ui.label()
            self._seconds = ui.label().classes("text-gray-600")
            ui.button("Stop", on_click=on_stop).props("flat dense no-caps data-testid=stop")
        self._timer = ui.timer(1.0, self._tick, active=False)
        self._elapsed = 0
        self.hide()

    def show(self, text: str) -> None:
        """Show a text and count the seconds since the first call."""
        if not self._row.visible:
            self._elapsed = 0
            self._seconds.text = ""
        self._row.visible = True
        self._text.text = f"{text} …"
        self._timer.active = True

    def hide(self) -> None:
        """Hide the line: nothing is running."""
        self._row.visible = False
        self._timer.active = False

    def _tick(self) -> None:
        self._elapsed += 1
        self._seconds.text = f"{self._elapsed} s"
