"""How results are printed."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def print_table(table: "Table", line: str) -> None:
    """Print a table and a line below it on stdout."""
    from rich.console import Console

    # A pipe has no width of its own; 80 columns would fold the figures.
    console = Console() if sys.stdout.isatty() else Console(width=120)
    console.print(table)
    console.print(line, highlight=False, soft_wrap=True)
