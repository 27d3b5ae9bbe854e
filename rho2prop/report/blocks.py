"""Building blocks of a section of the report; the template turns them into HTML and escapes each value."""

from dataclasses import dataclass, field

from matplotlib.figure import Figure as Drawing


@dataclass(frozen=True)
class Text:
    """A paragraph; ``kind`` is "plain", "note" or "missing" (why something is not shown)."""

    text: str
    kind: str = "plain"


@dataclass(frozen=True)
class Row:
    """A table row; ``kind`` is "plain", "group" (a heading, one cell) or "paper" (a published value)."""

    cells: tuple[str, ...]
    bold: frozenset[int] = frozenset()
    kind: str = "plain"


@dataclass(frozen=True)
class Table:
    """A table; the first ``n_text`` columns are text, the others numbers."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    n_text: int = 1


@dataclass(frozen=True)
class Figure:
    """A drawing with caption and alternative text; ``png`` for dense images, SVG otherwise."""

    name: str
    drawing: Drawing
    caption: str
    alt: str
    png: bool = False


@dataclass(frozen=True)
class Code:
    """Text shown as it is."""

    text: str
    caption: str = ""


@dataclass(frozen=True)
class Items:
    """A list; each item is (text, address or "")."""

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Heading:
    """A heading inside a section."""

    text: str


@dataclass(frozen=True)
class Tiles:
    """Key figures: (value, label)."""

    tiles: tuple[tuple[str, str], ...]


@dataclass
class Section:
    """One chapter, with a line in the table of contents; filled block by block."""

    name: str
    title: str
    blocks: list = field(default_factory=list)
