"""OOD readiness in words and tables: what a model makes of images of other kinds."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from invaudit.records.columns import distinct
from invaudit.records.leakage import ReadinessRow
from invaudit.report.printing import DASH, level, plain_table
from invaudit.report.sections import Grid, GridColumn, GridPart, GridRow, Section

WORDS = (
    "Share rejected, in per cent, at a threshold that rejects 5 % of images of the model's own kind; id-test: false "
    "alarms on such images, which nothing else has used. Below: the model as it is, with detectors on top; a guard "
    "brings the threshold along (invaudit ood fit --as-it-is)."
)


def readiness_table(rows: Sequence[ReadinessRow]) -> Table:
    """Return the shares rejected ready to print, a line for each detector."""
    caption = "\n".join((*remarks_on_readiness(rows), WORDS))
    table = plain_table("What the model does not know: images rejected at 5 % false alarms", caption)
    names = distinct(row.ood_set for row in rows)
    table.add_column("detector", overflow="fold")
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    for detector, cells in _cells(rows):
        table.add_row(*map(Text, (detector, *cells)))
    return table


def readiness_section(rows: Sequence[ReadinessRow]) -> Section:
    """Return the shares rejected as a section of the page."""
    columns = [GridColumn("detector", wraps=False)]
    columns += [GridColumn(name, is_numeric=True) for name in distinct(row.ood_set for row in rows)]
    lines = [GridRow([detector, *cells]) for detector, cells in _cells(rows)]
    return Section(
        "What the model does not know",
        notes=(WORDS,),
        grid=Grid(columns, [GridPart(lines, "")], is_long=False) if lines else None,
        missing="Not tested.",
        remarks=remarks_on_readiness(rows),
    )


def remarks_on_readiness(rows: Sequence[ReadinessRow]) -> list[str]:
    """Return why detectors have no result, each reason once."""
    return distinct(f"{row.detector}: {row.reason}" for row in rows if row.status != "ok")


def _cells(rows: Sequence[ReadinessRow]) -> list[tuple[str, list[str]]]:
    """Return each detector with its shares by set, in the order of the rows."""
    lines = []
    for detector in distinct(row.detector for row in rows):
        cells = [DASH if row.rejected is None else level(row.rejected) for row in rows if row.detector == detector]
        lines.append((detector, cells))
    return lines
