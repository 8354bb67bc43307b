"""How figures and tables look on the pages."""

from collections.abc import Iterable

import pandas as pd

from invaudit.report.printing import DASH

Cells = tuple[str, ...]
"""One row of a table."""


def markdown_table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table; a bar inside of a cell is escaped."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def code(name: str) -> str:
    """Return a name set as code."""
    return f"`{name}`"


def percent(value: float, *, decimals: int = 2) -> str:
    """Return a fraction in per cent; a dash where it is unknown."""
    return DASH if pd.isna(value) else f"{100 * value:.{decimals}f}"


def points(value: float) -> str:
    """Return a difference of fractions in points, with its sign."""
    return DASH if pd.isna(value) else f"{100 * value:+.2f}"


def points_with_interval(value: float, low: float, high: float) -> str:
    """Return a difference of fractions in points, with its interval where there is one."""
    return points(value) if pd.isna(low) else f"{points(value)} [{points(low)}; {points(high)}]"


def mean_and_sd(values: pd.Series, *, decimals: int = 2) -> str:
    """Return mean and standard deviation (ddof 1) over seeds in per cent; of one seed the value alone."""
    mean = percent(values.mean(), decimals=decimals)
    return mean if len(values) == 1 else f"{mean} ± {percent(values.std(ddof=1), decimals=decimals)}"
