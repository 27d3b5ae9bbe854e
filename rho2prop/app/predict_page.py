"""Page 1: a density file → crystal, isosurface, slices, predictions with intervals, CSV."""

import math
from pathlib import Path

from nicegui import ui

from rho2prop.app.answers import Answer
from rho2prop.app.context import Context
from rho2prop.app.density_panel import DensityPanel
from rho2prop.app.layout import ProgressLine, failure_text, frame, message
from rho2prop.app.sessions import Work
from rho2prop.app.settings import in_mb, path_below, safe_name
from rho2prop.core.errors import InputError, escaped
from rho2prop.core.targets import TARGETS
from rho2prop.features.feature_sets import set_label
from rho2prop.models.registry import model_label

INSIST = "Also predict for densities from another engine than the training set's (the values may be wrong)"
COLUMNS = [
    {"name": "property", "label": "property", "field": "property", "align": "left"},
    {"name": "model", "label": "model", "field": "model", "align": "left"},
    {"name": "value", "label": "value", "field": "value", "align": "right"},
    {"name": "interval", "label": "interval", "field": "interval", "align": "right"},
    {"name": "unit", "label": "unit", "field": "unit", "align": "left"},
    {"name": "features", "label": "features", "field": "features", "align": "left"},
]


class PredictPage:
    """Page of one visitor; its files are removed when the tab is closed."""

    def __init__(self, context: Context):
        self._context = context
        self._session = context.open_session()
        self._session.on_start, self._session.on_file = self._start_upload, self._received
        self._session.on_problem = self._complain
        self._busy_with: Path | None = None  # the file that is being predicted
        self._replaced = ""  # name of a file that another replaced before it was finished
        self._refused: Path | None = None  # kept until the user decides
        with frame("/"):
            self._build_inputs()
            self._progress = ProgressLine(self._stop)
            self._output = ui.column().classes("w-full gap-4")

    def _build_inputs(self) -> None:
        settings = self._context.settings
        limit = in_mb(settings.max_upload_bytes)
        ui.label("Properties from a charge density").classes("text-2xl")
        with ui.row().classes("w-full gap-6 items-start max-md:flex-wrap no-wrap"):
            uploader = ui.element("q-uploader").classes("w-full")
            uploader.props(
                f'label="Drop a CHGCAR, cube or .npz file here (also .gz, .bz2, .xz; up to {limit})" '
                f"auto-upload send-raw flat bordered hide-upload-btn max-file-size={settings.max_upload_bytes} "
                "data-testid=upload"
            )
            address = f"{settings.base_path}/upload/{self._session.token}?name="
            uploader.props(f":url=\"files => '{address}' + encodeURIComponent(files[0].name)\"")
            uploader.on("uploaded", lambda: uploader.run_method("reset"), args=[])
            uploader.on("failed", self._failed_upload, args=[])
            uploader.on("rejected", self._too_large, args=[])
            self._uploader, self._complained = uploader, False
            with ui.column().classes("w-full gap-1"):
                with ui.row().classes("w-full items-center no-wrap"):
                    self._path = ui.input("or a file on the server").classes("grow").props("data-testid=path")
                    self._path.on("keydown.enter", self._take_path, args=[])
                    ui.button("Read", on_click=self._take_path).props("no-caps data-testid=read")
                if settings.root is None:
                    self._path.disable()
                else:
                    where = f"relative to the folder “{escaped(settings.root.name or '/')}” (--root)"
                    ui.label(where).classes("text-sm text-gray-600").props("data-testid=root")
                self._insist = ui.checkbox(INSIST, on_change=self._insisted).props("data-testid=insist")

    def _start_upload(self) -> None:
        self._complained, self._refused = False, None
        self._note_replaced()
        self._output.clear()
        self._progress.show("Uploading")

    def _note_replaced(self) -> None:
        if self._busy_with is not None:
            self._replaced, self._busy_with = self._busy_with.name, None

    def _failed_upload(self) -> None:
        self._uploader.run_method("reset")
        if not self._complained:
            self._complain("The upload was interrupted. Check the connection and drop the file again.")

    def _too_large(self) -> None:
        limit = in_mb(self._context.settings.max_upload_bytes)
        self._complain(f"The file is larger than {limit}. Compress it (.xz, .gz), or raise --max-upload-mb.")

    def _take_path(self) -> None:
        settings = self._context.settings
        try:
            path = path_below(settings.root, self._path.value or "", settings.max_upload_bytes)
        except InputError as error:
            self._stop()
            self._complain(str(error))
            return
        if path == self._busy_with:  # a double click
            return
        self._note_replaced()
        self._received(self._session.begin(), path)

    def _received(self, work: Work, path: Path) -> None:
        self._busy_with, self._refused = path, None
        work.start(self._predict, path)

    def _insisted(self) -> None:
        if self._insist.value and self._refused is not None:
            self._received(self._session.work, self._refused)

    def _stop(self) -> None:
        self._session.begin()
        self._busy_with, self._refused, self._replaced = None, None, ""
        self._uploader.run_method("abort")
        self._uploader.run_method("reset")
        self._progress.hide()

    def _complain(self, text: str) -> None:
        self._complained = True
        self._progress.hide()
        self._output.clear()
        with self._output:
            message("error", text)

    async def _predict(self, work: Work, path: Path) -> bool:
        """Let a worker predict and show the result; True if the file was refused and the user may insist."""
        arguments = {
            "path": path,
            "folder": work.folder,
            "max_bytes": self._context.settings.max_unpacked_bytes,
            "allow_other_engine": bool(self._insist.value),
        }
        self._output.clear()
        self._progress.show("Starting")
        try:
            answer = await self._context.pool.run("predict_file", arguments, self._progress.show)
            self._busy_with, self._refused = None, path if answer.refusal else None
            self._progress.hide()
            with self._output:
                self._show(answer)
        except Exception as error:
            self._busy_with, self._refused = None, None
            self._complain(failure_text(error, self._context))
        return self._refused is not None

    def _show(self, answer: Answer) -> None:
        if self._replaced:
            message("note", f"{self._replaced} was not finished: it was replaced by {answer.name}.")
            self._replaced = ""
        ui.label(f"{answer.formula}: {escaped(answer.name)}").classes("text-xl").props("data-testid=title")
        if answer.refusal:
            message("warning", f"{answer.refusal} Tick “{INSIST}” to see predictions anyway.")
        for warning in answer.warnings:
            message("warning", warning)
        if answer.rows:
            message("warning" if answer.is_far else "note", f"Distance to the training set: {answer.applicability}.")
            self._show_table(answer)
        DensityPanel(answer.view)

    def _show_table(self, answer: Answer) -> None:
        order = list(TARGETS)
        rows = sorted(answer.rows, key=lambda row: order.index(row["target"]))
        coverage = f"{100 * rows[0]['coverage']:g} % interval"
        columns = [column | ({"label": coverage} if column["name"] == "interval" else {}) for column in COLUMNS]
        table = ui.table(columns=columns, rows=[_table_row(row, n) for n, row in enumerate(rows)], row_key="key")
        table.classes("w-full").props("dense flat bordered data-testid=predictions")
        name = f"{safe_name(answer.name).split('.')[0]}-predictions.csv"
        ui.button(
            "Download CSV", on_click=lambda: ui.download.content(answer.csv, name, "text/csv; charset=utf-8")
        ).props("no-caps outline data-testid=csv")


def _table_row(row: dict, key: int) -> dict:
    target = TARGETS[row["target"]]
    return {
        "key": key,
        "property": f"{target.name} {target.symbol}",
        "model": model_label(row["model"]),
        "value": f"{row['value']:.4g}",
        "interval": f"{_end(row['lower'])} … {_end(row['upper'])}",
        "unit": row["unit"],
        "features": set_label(row["features"]),
    }


def _end(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else ("−∞" if value < 0 else "∞")
