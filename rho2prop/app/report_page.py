"""Page 3: the report of the run."""

from nicegui import ui

from rho2prop.app.context import Context
from rho2prop.app.layout import frame, message


def report_page(context: Context) -> None:
    """Page with the report in a frame, and a link to open it in a new tab."""
    path = context.settings.report
    with frame("/report"):
        if not path.is_file():
            message("error", f"{path.name}: there is no report. Finish a run, or give its report.html with --report.")
            return
        ui.link("Open the report in a new tab", "/report.html", new_tab=True).classes("text-sm")
        ui.element("iframe").props(
            f'src="{context.settings.base_path}/report.html" sandbox="allow-popups" title="report" data-testid=report'
        ).classes("w-full border rounded").style("height: calc(100vh - 9rem)")
