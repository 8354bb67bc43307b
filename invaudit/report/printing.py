"""How figures read, and what the tables on the terminal share."""

from collections.abc import Callable, Iterable
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

MINUS, DASH = "\u2212", "\u2013"


def level(value: float | None, spread: float | None = None, *, decimals: int = 1) -> str:
    """Return a fraction in per cent, with its sd where there is one."""
    if value is None:
        return DASH
    text = f"{100 * value:.{decimals}f}"
    return text if spread is None else f"{text} ± {100 * spread:.{decimals}f}"


def p_text(value: float) -> str:
    """Return a p-value with two digits."""
    return f"{value:.2g}"


def span(values: Iterable[Any], text: Callable[[Any], str]) -> str:
    """Return the known values as lowest and highest, as one where both read the same, empty where none is known."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    lowest, highest = text(min(known)), text(max(known))
    return lowest if lowest == highest else f"{lowest}{DASH}{highest}"


def plain_table(title: str, caption: str) -> Table:
    """Return an empty table in the style of all, its words taken as text: a name in square brackets is no markup."""
    table = Table(
        title=Text(title), caption=Text(caption), box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left"
    )
    table.padding, table.pad_edge, table.show_edge = (0, 1, 0, 0), False, False
    return table
