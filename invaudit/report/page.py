"""What the offline pages share: one file, no script, no request, everything escaped."""

import base64
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from invaudit.records.columns import Column, Row
from invaudit.report.drawing import DPI
from invaudit.report.records import as_rows, flatten
from invaudit.runtime.files import write_bytes, write_text
from invaudit.runtime.version import __version__

R = TypeVar("R", bound=Row)
RATES = (
    "auroc", "auroc_sd", "aupr_in", "aupr_out", "fpr95", "fpr95_id", "difference", "difference_low", "difference_high",
    "lowest_auroc", "highest_auroc", "ece", "id_accuracy", "alpha", "false_alarms", "resistance", "accepted",
    "passed", "garbage", "false_alarms_held_out", "band_low", "band_high",
    "auroc_low", "auroc_high", "blind_auroc", "tpr_at_fpr_1pct", "train_accuracy", "control_accuracy",
)  # fmt: skip


class PageFigure(NamedTuple):
    """A figure of a page."""

    name: str
    png: bytes
    caption: str
    alt: str = ""
    """What it shows, for those who do not see it."""


class GridColumn(NamedTuple):
    """A column of a table on a page."""

    title: str
    is_numeric: bool


class GridPart(NamedTuple):
    """Some rows of a table that belong together."""

    rows: list[list[str]]
    title: str = ""
    """A line above them, empty for none."""
    style: str = ""
    """CSS class of the rows."""


@dataclass(frozen=True)
class Grid:
    """A table on a page, as text.

    Attributes:
        columns: Its columns.
        parts: Its rows.
        is_long: Whether it scrolls in a window of its own.
    """

    columns: list[GridColumn]
    parts: list[GridPart]
    is_long: bool = True

    @property
    def has_rows(self) -> bool:
        """Whether there is anything to show."""
        return any(part.rows for part in self.parts)


@dataclass(frozen=True)
class Section:
    """A section of a page: what the template ``parts.html`` shows, in this order.

    Attributes:
        title: Its heading, empty for none.
        notes: Sentences that introduce it.
        lines: Further sentences, each as a line of its own.
        terms: What words mean, by word.
        figures: Its figures.
        grid: Its table.
        missing: What to say where there is neither a figure nor a row.
        remarks: Sentences at the end.
        is_detail: Whether it stands folded among the details.
    """

    title: str
    notes: Sequence[str] = ()
    lines: Sequence[str] = ()
    terms: Mapping[str, str] = field(default_factory=dict)
    figures: Sequence[PageFigure] = ()
    grid: Grid | None = None
    missing: str = ""
    remarks: Sequence[str] = ()
    is_detail: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether it has neither a figure nor a row."""
        return not self.figures and not (self.grid and self.grid.has_rows)


def write_page(folder: Path, template: str, context: dict[str, Any], drawn: Iterable[PageFigure]) -> Path:
    """Write ``figures/*.png`` and ``report.html`` into a run folder; equal input gives equal bytes.

    Args:
        folder: The run folder.
        template: Name of a file in ``templates``.
        context: Its variables; one that is missing raises. ``figures`` is added.
        drawn: The figures.

    Returns:
        The path of ``report.html``.

    Raises:
        RunFolderError: The folder cannot be written.
    """
    drawn = list(drawn)
    for figure in drawn:
        write_bytes(folder / "figures" / f"{figure.name}.png", figure.png)
    page = folder / "report.html"
    write_text(page, render(template, context | {"figures": {figure.name: _embed(figure) for figure in drawn}}))
    return page


def render(template: str, context: dict[str, Any]) -> str:
    """Return a template of this package filled in; everything in the context is escaped."""
    environment = Environment(
        loader=PackageLoader("invaudit.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(version=__version__, **context)


def provenance(seeds: list[int], config: str | None, environment: dict[str, Any] | None) -> dict[str, Any]:
    """Return what the macro ``provenance`` of the templates shows: seeds, command, environment, config."""
    environment = environment or {}
    return {
        "seeds": ", ".join(map(str, seeds)),
        "command": shlex.join(map(str, environment.get("command", []))),
        "facts": [(key, text) for key, text in flatten(environment) if key != "command"],
        "config": config,
    }


def _embed(figure: PageFigure) -> dict[str, Any]:
    # Bytes 16 to 19 of a PNG are its width in pixels.
    width = round(int.from_bytes(figure.png[16:20], "big") * 96 / DPI)
    source = f"data:image/png;base64,{base64.b64encode(figure.png).decode()}"
    return {"source": source, "caption": figure.caption, "alt": figure.alt, "width": width}


def row_grid(kind: type[R], rows: Iterable[R], *, without: Collection[str] = ()) -> Grid:
    """Return rows as a table of text, fractions in per cent.

    Args:
        kind: Class of the rows; it says what its columns hold.
        rows: The rows.
        without: Columns to leave out.
    """
    names = [name for name in kind.model_fields if name not in without]
    return _grid(kind, names, ([getattr(row, name) for name in names] for row in rows))


def mean_grid(kind: type[R], rows: Iterable[R], *by: str) -> Grid:
    """Return the means over seeds of what rows measure as a table of text, fractions in per cent.

    Where a row has no figure, neither has the mean: that of the others would be of fewer than it seems.

    Args:
        kind: Class of the rows, with a column ``seed``.
        rows: The rows.
        by: Columns that name a line of the table.
    """
    groups: dict[tuple[Any, ...], list[R]] = {}
    for row in rows:
        groups.setdefault(tuple(getattr(row, name) for name in by), []).append(row)
    measures = [name for name in kind.model_fields if kind.is_numeric(name) and name not in ("seed", *by)]
    lines = []
    for key, group in groups.items():
        lines.append([*key, *(_mean([getattr(row, name) for row in group]) for name in measures)])
    return _grid(kind, [*by, *measures], lines)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 4) if len(known) == len(values) else None


def _grid(kind: type[Row], names: Sequence[str], lines: Iterable[Sequence[Any]]) -> Grid:
    meanings = kind.columns()
    rows = []
    for line in lines:
        rows.append([_text(value, meanings[name]) for name, value in zip(names, line, strict=True)])
    return Grid([GridColumn(name, kind.is_numeric(name)) for name in names], [GridPart(rows)])


def _text(value: Any, column: Column) -> str:
    if value is None:
        return ""
    if column.is_rate:
        return f"{100 * value:.2f}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


# TODO: remove from here on, and RATES, when the tables of leakage runs are typed rows.
def grid(
    frame: pd.DataFrame | None, *, without: Collection[str] = (), numbers: Collection[str] = ()
) -> dict[str, Any] | None:
    """Return a table as text for the templates, rates in per cent.

    Args:
        frame: The table; None is passed on.
        without: Columns to leave out.
        numbers: Columns of text that reads as numbers.

    Returns:
        ``columns``: name, and whether it is numeric; ``rows``: lists of text.
    """
    if frame is None:
        return None
    names = [str(name) for name in frame.columns if name not in without]
    rows = as_rows(frame)
    numeric = [name in numbers or all(_is_number(row[name]) for row in rows) for name in names]
    return {
        "columns": list(zip(names, numeric, strict=True)),
        "rows": [[_cell(name, row[name]) for name in names] for row in rows],
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, float | int | None) and not isinstance(value, bool)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name in RATES:
        return f"{100 * value:.2f}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
