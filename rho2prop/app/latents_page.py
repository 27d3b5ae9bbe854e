"""Page 2: the latent database → decoded density, slices, CHGCAR."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from nicegui import ui
from nicegui.events import GenericEventArguments

from rho2prop.app.answers import Decoded
from rho2prop.app.context import Context
from rho2prop.app.density_panel import DensityPanel
from rho2prop.app.layout import ProgressLine, frame, message
from rho2prop.app.settings import safe_name
from rho2prop.errors import InputError

if TYPE_CHECKING:
    from rho2prop.latent_database import LatentEntry

MOST_SHOWN = 50
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
        with frame("/latents"):
            ui.label("Densities out of the latent database").classes("text-2xl")
            with ui.row().classes("w-full items-center no-wrap"):
                self._text = ui.input("Formula (MgO), elements (Mg O), system (Mg-O) or id")
                self._text.classes("grow").props("clearable data-testid=search")
                self._text.on("keydown.enter", self._search, args=[])
                ui.button("Search", on_click=self._search).props("no-caps data-testid=search-button")
            self._found = ui.column().classes("w-full")
            self._progress = ProgressLine(self._stop)
            self._output = ui.column().classes("w-full gap-4")
        ui.timer(0, self._search, once=True)

    async def _search(self) -> None:
        """List what is found; a click on a row decodes it."""
        text = self._text.value or ""
        try:
            entries, n_all = await asyncio.to_thread(_look_up, self._context.settings.database, text)
        except InputError as error:
            self._found.clear()
            with self._found:
                message("error", str(error))
            return
        self._found.clear()
        with self._found:
            n_found = f"{len(entries)}" if len(entries) <= MOST_SHOWN else f"more than {MOST_SHOWN}"
            what = f"{n_found} found for “{text.strip()}”" if text.strip() else f"{n_all} in the database"
            more = f" (the first {MOST_SHOWN} are listed)" if len(entries) > MOST_SHOWN else ""
            ui.label(f"{what}{more}. Click on one to see it.").classes("text-sm").props("data-testid=found")
            rows = [
                {"id": entry.material_id, "formula": entry.formula, "system": entry.chemical_system}
                for entry in entries[:MOST_SHOWN]
            ]
            table = ui.table(columns=COLUMNS, rows=rows, row_key="id", pagination=8)
            table.classes("w-full cursor-pointer").props("dense flat bordered data-testid=materials")
            table.on("rowClick", self._row_clicked, args=[[], ["id"]])

    def _row_clicked(self, event: GenericEventArguments) -> None:
        _, row = event.args  # the pointer event, the row
        self._session.start(self._decode(str(row["id"])))

    async def _decode(self, material_id: str) -> None:
        arguments = {"database": self._context.settings.database, "material_id": material_id}
        self._output.clear()
        self._session.clear()
        self._progress.show("Starting")
        try:
            decoded = await self._context.pool.run("decode_latent", arguments, self._progress.show)
        except InputError as error:
            self._complain(str(error))
            return
        self._progress.hide()
        with self._output:
            self._show(decoded)

    def _show(self, decoded: Decoded) -> None:
        ui.label(f"{decoded.formula}: {decoded.material_id}").classes("text-xl").props("data-testid=title")
        message("note", decoded.remark)
        ui.button("Save CHGCAR", on_click=lambda: self._session.start(self._save(decoded.material_id))).props(
            "no-caps outline data-testid=save"
        )
        DensityPanel(decoded.view)

    async def _save(self, material_id: str) -> None:
        self._session.clear()
        target = self._session.folder / f"CHGCAR_{safe_name(material_id)}"
        arguments = {"database": self._context.settings.database, "material_id": material_id, "target": target}
        self._progress.show("Starting")
        try:
            await self._context.pool.run("save_chgcar", arguments, self._progress.show)
        except InputError as error:
            self._complain(str(error))
            return
        self._progress.hide()
        with self._output:
            ui.download.from_url(f"/files/{self._session.token}/{target.name}", target.name)

    def _stop(self) -> None:
        self._session.cancel()
        self._session.clear()
        self._progress.hide()

    def _complain(self, text: str) -> None:
        self._progress.hide()
        with self._output:
            message("error", text)


def _look_up(path: Path, text: str) -> tuple[list["LatentEntry"], int]:
    from rho2prop.latent_database import LatentDatabase  # loads much that the other pages do not need

    with LatentDatabase(path) as database:
        return database.search(text, MOST_SHOWN + 1), len(database)
