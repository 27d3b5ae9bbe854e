"""Look of the figures: colours safe for colour-blind readers, SVG and PNG for a single page."""

import base64
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from rho2prop.core.targets import TARGETS
from rho2prop.report.numbers import plain

# Okabe and Ito's palette.
BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, GREY, INK = "#CC79A7", "#56B4E9", "#8A8F98", "#22272E"
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, VERMILION, SKY)
MARKERS = ("o", "s", "^", "D", "v", "P")


def _formula(symbol: str) -> str:
    """Symbol as mathematical text, ``E_at`` with an upright index."""
    letter, _, index = symbol.partition("_")
    return f"${letter}_\\mathrm{{{index}}}$" if index else f"${letter}$"


SYMBOLS = {target.column: _formula(target.symbol) for target in TARGETS.values()}

_RC: dict[Any, Any] = {  # Matplotlib lists its keys as literals
    "font.family": "DejaVu Sans",
    "mathtext.fontset": "dejavusans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.edgecolor": "#9AA1AB",
    "axes.linewidth": 0.8,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": "#4A515B",
    "ytick.color": "#4A515B",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E9ED",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
}


@contextmanager
def style() -> Iterator[None]:
    """The settings under which each figure is drawn and saved."""
    with mpl.rc_context(_RC):
        yield


def panels(n_panels: int, n_columns: int = 3, size: tuple[float, float] = (3.1, 2.5)) -> tuple[Figure, list[Axes]]:
    """A figure with ``n_panels`` axes in rows of at most ``n_columns``, unused places left empty.

    Parameters
    ----------
    n_panels
        Number of panels, at least 1.
    n_columns
        Panels in a row.
    size
        Width and height of one panel in inches.

    Returns
    -------
    Figure, list of Axes
    """
    n_columns = min(n_columns, n_panels)
    n_rows = -(-n_panels // n_columns)
    width = size[0] * n_columns if n_columns > 1 else size[0] * 1.5
    figure = Figure(figsize=(width, size[1] * n_rows if n_columns > 1 else size[1] * 1.3), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel().tolist()
    for unused in axes[n_panels:]:
        unused.set_axis_off()
    return figure, axes[:n_panels]


def plain_log(axis: Axis) -> None:
    """Labels of a logarithmic axis as plain numbers; between powers of ten only if it spans few."""
    axis.set_major_formatter(plain)
    axis.set_minor_formatter(_PlainLogFormatter(minor_thresholds=(1.5, 0.6)))


class _PlainLogFormatter(LogFormatter):
    """Matplotlib's choice of the ticks that get a label, the labels as plain numbers."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return plain(x) if super().__call__(x, pos) else ""


def to_svg(figure: Figure, name: str) -> str:
    """SVG text of a figure, the same for the same data.

    Parameters
    ----------
    figure
        Figure to save.
    name
        Unique in the page: goes before each id, so that several SVGs can stand in one HTML file.
    """
    buffer = io.StringIO()
    metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with style(), mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", dpi=200, metadata=metadata)  # dpi: of rasterised points
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"\bid=\"", f'id="{name}-', text)
    text = re.sub(r"href=\"#", f'href="#{name}-', text)
    return re.sub(r"url\(#", f"url(#{name}-", text)


def to_png(figure: Figure, dpi: int = 150) -> bytes:
    """PNG bytes of a figure."""
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def data_uri(png: bytes) -> str:
    """``data:`` address of a PNG, for an ``<img>`` without a file."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def sentence_figure(sentence: str) -> Figure:
    """A figure that only says why there is nothing to draw."""
    with style():
        figure = Figure(figsize=(7, 1.2), layout="constrained")
        figure.text(0.5, 0.5, sentence, ha="center", va="center", wrap=True, fontsize=10)
    return figure
