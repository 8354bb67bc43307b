"""Two runs side by side, ready to print."""

from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from invaudit.records.columns import distinct
from invaudit.records.comparison import ComparisonRow
from invaudit.report.printing import DASH, MINUS, level, p_text, plain_table

NAMES = ("part", "target", "seed", "name", "ood_set", "figure")
RATES = ("auroc", "fpr95", "accuracy", "rejected")
"""Figures that are fractions, which people read in per cent."""
WORDS = (
    "Difference: second minus first, in points, with its 95 % interval where both measured the same images; each "
    "interval is for one row, none is corrected for the number of rows. Without an interval no difference is tested."
)


def comparison_table(title: str, rows: Sequence[ComparisonRow]) -> Table:
    """Return the rows that have two values as a table, and below it what only one of the runs has."""
    both = [row for row in rows if row.compared != "not-paired"]
    lone = [row for row in rows if row.compared == "not-paired"]
    values = {name: distinct(_name(getattr(row, name)) or None for row in both) for name in NAMES}
    # What is the same in every row stands once, below the title.
    names = [name for name, of_rows in values.items() if len(of_rows) > 1]
    shared = [f"{name.replace('_', ' ')} {of_rows[0]}" for name, of_rows in values.items() if len(of_rows) == 1]
    heading = "\n".join(filter(None, (title, ", ".join(shared))))
    table = plain_table(heading, "\n".join((WORDS, *_lone_lines(lone))))
    for name in names:
        table.add_column(name.replace("_", " "), overflow="fold")
    for name in ("before", "after", "difference"):
        table.add_column(name, justify="right", overflow="fold")
    for row in both:
        cells = [_name(getattr(row, name)) for name in names]
        table.add_row(*map(Text, (*cells, _value(row, row.before, row.verdict_before))), *_after(row))
    return table


def _after(row: ComparisonRow) -> tuple[Text, Text]:
    return Text(_value(row, row.after, row.verdict_after)), Text(_difference(row))


def _name(value: str | int | None) -> str:
    return "" if value is None else str(value)


def _value(row: ComparisonRow, value: float | None, verdict: str | None) -> str:
    """Return a value in the units of its figure; of a test its verdict with the p-value."""
    if row.figure in RATES:
        return level(value)
    text = DASH if value is None else p_text(value)
    return text if verdict is None else f"{verdict}, p {text}"


def _difference(row: ComparisonRow) -> str:
    """Return a difference of rates in points, with its interval where there is one."""
    if row.difference is None:
        return ""
    text = f"{100 * row.difference:+.1f}"
    if row.difference_low is not None and row.difference_high is not None:
        text += f" [{100 * row.difference_low:+.1f}, {100 * row.difference_high:+.1f}]"
    return text.replace("-", MINUS)


def _lone_lines(rows: Iterable[ComparisonRow]) -> list[str]:
    """Return what is not compared, by its reason."""
    named: dict[str, list[str]] = {}
    for row in rows:
        values = [_name(getattr(row, name)) for name in NAMES[1:-1]]
        named.setdefault(row.reason or "", []).append(" ".join(filter(None, values)))
    return [f"Not compared, {reason}: {', '.join(distinct(names))}." for reason, names in named.items()]
