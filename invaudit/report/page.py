"""What the offline pages share: one file, no script, no request, everything escaped."""

import base64
import shlex
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from invaudit.report.drawing import DPI
from invaudit.report.records import as_rows, flatten
from invaudit.runtime.files import write_bytes, write_text
from invaudit.runtime.version import __version__

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
    return {"source": source, "caption": figure.caption, "width": width}


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
