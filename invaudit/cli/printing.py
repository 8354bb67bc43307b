"""How results are printed."""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.table import Table


def records(table: "DataFrame") -> list[dict[str, Any]]:
    """Return the rows of a table for JSON; a missing value is None."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


def print_table(table: "Table", line: str) -> None:
    """Print a table and a line below it on stdout."""
    from rich.console import Console

    # A pipe has no width of its own; 80 columns would fold the figures.
    console = Console() if sys.stdout.isatty() else Console(width=120)
    console.print(table)
    console.print(line, highlight=False, soft_wrap=True)
