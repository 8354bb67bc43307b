"""How results are printed."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType


def print_table(table: "RenderableType", line: str) -> None:
    """Print a table and a line below it on stdout."""
    from rich.console import Console

    # A pipe has no width of its own; 80 columns would fold the figures.
    console = Console() if sys.stdout.isatty() else Console(width=120)
    console.print(table)
    console.print(line, highlight=False, soft_wrap=True)


def print_columns(rows: Sequence[dict[str, Any]]) -> None:
    """Print rows with the same keys in aligned columns on stdout; columns in which nothing is known are left out."""
    names = [name for name in rows[0] if any(row[name] is not None for row in rows)]
    lines = [names, *([_cell(row[name]) for name in names] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
