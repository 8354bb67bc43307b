"""What a page is made of: sections with sentences, figures and tables, all of them plain text until they are shown."""

import base64
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from invaudit.records.columns import Column, Row

C = TypeVar("C")
R = TypeVar("R", bound=Row)
DPI, PER_INCH = 160, 96
"""Pixels per inch of figures, and of a page as CSS counts them."""


class Card(NamedTuple):
    """A number at the top of a page."""

    title: str
    figure: str
    note: str


class PageFigure(NamedTuple):
    """A figure of a page."""

    name: str
    png: bytes
    caption: str
    alt: str = ""
    """What it shows, for those who do not see it."""

    @property
    def source(self) -> str:
        """The picture itself as an address, so that the page loads no file."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"

    @property
    def width(self) -> int:
        """Width on the page in pixels."""
        # Bytes 16 to 19 of a PNG are its width in pixels.
        return round(int.from_bytes(self.png[16:20], "big") * PER_INCH / DPI)


class GridColumn(NamedTuple):
    """A column of a table on a page."""

    title: str
    is_numeric: bool = False
    wraps: bool = True
    """Whether long text runs over several lines."""


class GridRow(NamedTuple):
    """A row of a table on a page."""

    cells: list[str]
    style: str = ""
    """CSS class of the row, empty for none."""


class GridPart(NamedTuple):
    """Some rows of a table that belong together."""

    rows: list[GridRow]
    title: str = ""
    """A line above them, empty for none."""


@dataclass(frozen=True)
class Grid:
    """A table on a page, as text.

    Attributes:
        columns: Its columns.
        parts: Its rows.
        is_long: Whether it scrolls in a window of its own.
        is_sortable: Whether the page's script, where it has one, lets a reader sort it; it has one part then.
    """

    columns: list[GridColumn]
    parts: list[GridPart]
    is_long: bool = True
    is_sortable: bool = False

    @property
    def has_rows(self) -> bool:
        """Whether there is anything to show."""
        return any(part.rows for part in self.parts)


@dataclass(frozen=True)
class Section:
    """A section of a page: what ``templates/parts.html`` shows, in the order of these attributes.

    Attributes:
        title: Its heading, empty for none.
        notes: Sentences in small print that introduce it.
        terms: Words, each with its meaning.
        lines: Sentences, each a paragraph.
        bullets: Sentences, as a list.
        figures: Its figures.
        grid: Its table.
        verbatim: Text that is shown as it is written.
        missing: What to say where there is neither a figure, nor a row, nor text as it is written.
        remarks: Sentences in small print at the end.
        parts: Sections within this one.
        is_detail: Whether it is folded. A page shows such sections last, below the heading Details.
    """

    title: str
    notes: Sequence[str] = ()
    terms: Sequence[tuple[str, str]] = ()
    lines: Sequence[str] = ()
    bullets: Sequence[str] = ()
    figures: Sequence[PageFigure] = ()
    grid: Grid | None = None
    verbatim: str = ""
    missing: str = ""
    remarks: Sequence[str] = ()
    parts: "Sequence[Section]" = ()
    is_detail: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether there is neither a figure, nor a row, nor text as it is written."""
        return not self.figures and not self.verbatim and not (self.grid and self.grid.has_rows)


def make_sections(makers: Iterable[Callable[[C], Section | None]], content: C) -> list[Section]:
    """Return the sections of a page in their order; a maker leaves its section out by returning None."""
    sections = []
    for make in makers:
        section = make(content)
        if section is not None:
            sections.append(section)
    return sections


def figures_in(sections: Iterable[Section]) -> Iterator[PageFigure]:
    """Yield the figures of some sections and of those within them."""
    for section in sections:
        yield from section.figures
        yield from figures_in(section.parts)


def row_grid(kind: type[R], rows: Iterable[R], *, only: Collection[str] = (), without: Collection[str] = ()) -> Grid:
    """Return rows as a table of text, fractions in per cent.

    Args:
        kind: Class of the rows; it says what its columns hold.
        rows: The rows.
        only: Columns to show, in the order of the class; empty for all.
        without: Columns to leave out.
    """
    names = []
    for name in kind.model_fields:
        if name not in without and (name in only or not only):
            names.append(name)
    lines = []
    for row in rows:
        lines.append([getattr(row, name) for name in names])
    return _text_grid(kind, names, lines)


def mean_grid(kind: type[R], rows: Iterable[R], *by: str) -> Grid:
    """Return the means over seeds of what rows measure as a table of text, fractions in per cent.

    Where a row has no figure, neither has the mean: that of the others would be of fewer seeds than it seems.

    Args:
        kind: Class of the rows, with a column ``seed``.
        rows: The rows.
        by: Columns that name a line of the table.
    """
    groups: dict[tuple[Any, ...], list[R]] = {}
    for row in rows:
        key = tuple(getattr(row, name) for name in by)
        groups.setdefault(key, []).append(row)
    measures = []
    for name in kind.model_fields:
        if kind.is_numeric(name) and name != "seed" and name not in by:
            measures.append(name)
    lines = []
    for key, group in groups.items():
        means = [_mean_of(group, name) for name in measures]
        lines.append([*key, *means])
    return _text_grid(kind, [*by, *measures], lines)


def _mean_of(rows: Sequence[Row], name: str) -> float | None:
    """Return the mean of a column, None where a row has no value."""
    total = 0.0
    for row in rows:
        value = getattr(row, name)
        if value is None:
            return None
        total += value
    return round(total / len(rows), 4)


def _text_grid(kind: type[Row], names: Sequence[str], lines: Iterable[Sequence[Any]]) -> Grid:
    """Return values as a table of text, each column in the form that its class asks for."""
    meanings = kind.columns()
    columns = [GridColumn(name, kind.is_numeric(name)) for name in names]
    rows = []
    for values in lines:
        cells = []
        for name, value in zip(names, values, strict=True):
            cells.append(_text(value, meanings[name]))
        rows.append(GridRow(cells))
    return Grid(columns, [GridPart(rows)])


def _text(value: Any, column: Column) -> str:
    if value is None:
        return ""
    if column.is_rate:
        return f"{100 * value:.2f}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
