"""Page 2: the latent database → decoded density, slices, CHGCAR."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from nicegui import ui
from nicegui.events import GenericEventArguments

from rho2prop.app.answers import Decoded
from rho2prop.app.context import Context
from rho2prop.app.density_panel import DensityPanel
from rho2prop.app.layout import ProgressLine, failure_text, frame, message
from rho2prop.app.sessions import Work
from rho2prop.app.settings import safe_name
from rho2prop.core.errors import escaped

if TYPE_CHECKING:
    from rho2prop.autoencoder.latent_database import LatentEntry

MOST_SHOWN = 50
LOOK_UP_S = 5.0  # that one query may take
COLUMNS = [
    {"name": "id", "label": "material", "field": "id", "align": "left"},
    {"name": "formula", "label": "formula", "field": "formula", "align": "left"},
    {"name": "system", "label": "chemical system", "field": "system", "align": "left"},
]


class LatentsPage:
    """One visitor's page of the latent database."""

    def __init__(self, context: Context):
        self._context = context
        self._session = context.open_session()
        self._busy_with = ("", "")  # material and job in progress
        with frame("/latents"):
            ui.label("Densities from the latent database").classes("text-2xl")
            with ui.row().classes("w-full items-center no-wrap"):
                self._text = ui.input("Formula (MgO), elements (Mg O), chemical system (Mg-O) or id")
                self._text.classes("grow").props("clearable data-testid=search")
                self._text.on("keydown.enter", self._search, args=[])
                ui.button("Search", on_click=self._search).props("no-caps data-testid=search-button")
            self._found = ui.column().classes("w-full")
            self._progress = ProgressLine(self._stop)
            self._output = ui.column().classes("w-full gap-4")
        ui.timer(0, self._search, once=True)

    async def _search(self) -> None:
        """List the matches; a click on a row decodes it."""
        text = self._text.value or ""
        try:
            entries, n_all = await asyncio.to_thread(_look_up, self._context.settings.database, text)
        except Exception as error:
            self._found.clear()
            with self._found:
                message("error", failure_text(error, self._context))
            return
        self._found.clear()
        with self._found:
            n_found = f"{len(entries)}" if len(entries) <= MOST_SHOWN else f"more than {MOST_SHOWN}"
            what = f"{n_found} found for “{escaped(text.strip())}”" if text.strip() else f"{n_all} in the database"
            more = f" (the first {MOST_SHOWN} are listed)" if len(entries) > MOST_SHOWN else ""
            ui.label(f"{what}{more}. Click on a row to show the density.").classes("text-sm").props("data-testid=found")
            rows = [
                {"id": entry.material_id, "formula": entry.formula, "system": entry.chemical_system}
                for entry in entries[:MOST_SHOWN]
            ]
            table = ui.table(columns=COLUMNS, rows=rows, row_key="id", pagination=8)
            table.classes("w-full cursor-pointer").props("dense flat bordered data-testid=materials")
            table.on("rowClick", self._row_clicked, args=[[], ["id"]])

    def _row_clicked(self, event: GenericEventArguments) -> None:
        _, row = event.args  # the pointer event, the row
        self._begin(self._decode, str(row["id"]))

    def _begin(self, job: Callable[[Work, str], Awaitable[bool]], material_id: str) -> None:
        """Start a job, stopping a running one; a second click on the same row changes nothing."""
        wanted = (material_id, job.__name__)
        if self._busy_with != wanted:
            self._busy_with = wanted
            self._session.begin().start(job, material_id)

    async def _decode(self, work: Work, material_id: str) -> bool:
        self._output.clear()
        decoded = await self._run("decode_latent", material_id)
        if decoded is not None:
            with self._output:
                self._show(decoded)
        return False

    async def _run(self, job: str, material_id: str, **more: Any) -> Any:
        """Result of a worker's job; None if it failed, with a message on the page."""
        arguments = {"database": self._context.settings.database, "material_id": material_id} | more
        self._progress.show("Starting")
        answer = None
        try:
            answer = await self._context.pool.run(job, arguments, self._progress.show)
        except Exception as error:
            with self._output:
                message("error", failure_text(error, self._context))
        self._busy_with = ("", "")
        self._progress.hide()
        return answer

    def _show(self, decoded: Decoded) -> None:
        ui.label(escaped(f"{decoded.formula}: {decoded.material_id}")).classes("text-xl").props("data-testid=title")
        message("note", decoded.remark)
        ui.button("Save CHGCAR", on_click=lambda: self._begin(self._save, decoded.material_id)).props(
            "no-caps outline data-testid=save"
        )
        DensityPanel(decoded.view)

    async def _save(self, work: Work, material_id: str) -> bool:
        """Write a CHGCAR and let the browser fetch it; the file is kept until the page starts other work."""
        target = work.folder / f"CHGCAR_{safe_name(material_id)}"
        if await self._run("save_chgcar", material_id, target=target) is None:
            return False
        with self._output:
            ui.download.from_url(f"/files/{self._session.token}/{quote(target.name)}", target.name)
        return True

    def _stop(self) -> None:
        self._session.begin()
        self._busy_with = ("", "")
        self._progress.hide()


def _look_up(path: Path, text: str) -> tuple[list["LatentEntry"], int]:
    from rho2prop.autoencoder.latent_database import LatentDatabase  # heavy imports that the other pages do not need

    with LatentDatabase(path, time_limit_s=LOOK_UP_S) as database:
        return database.search(text, MOST_SHOWN + 1), len(database)
