"""The tables of a leakage run: for the page, and short for the terminal."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import compress
from pathlib import Path
from typing import TypeVar

from rich.table import Table
from rich.text import Text

from invaudit.records.columns import Row, distinct
from invaudit.records.leakage import ControlRow, TestRow
from invaudit.records.leakage_run import LeakageRun, read_leakage_run
from invaudit.report.leakage.findings import (
    FIRED,
    Finding,
    attack_sentence,
    findings,
    fired,
    gaps_of,
    headline_sentence,
    smallest_p,
    tested,
)
from invaudit.report.printing import DASH, level, p_text, plain_table, span
from invaudit.report.sections import Grid, GridColumn, GridPart, GridRow

R = TypeVar("R", bound=Row)
whole: Callable[[float], str] = "{:.0f}".format
TEXT_BY_UNIT: dict[str, Callable[[float], str]] = {
    "fraction": level,
    "probability": p_text,
    "count": whole,
    "metric": "{:.3f}".format,
    "epsilon": "{:.2f}".format,
}
"""How the figures of a column read, by its unit."""

# Title on the page -> column of the file.
Figures = Mapping[str, str]
TESTS: Figures = {
    "Holm p": "p_adjusted",
    "distinct hits": "distinct_hits",
    "to member": "similarity_member",
    "to control": "similarity_control",
    "scoring limit": "scoring_limit",
}
MEMBERSHIP: Figures = {
    "AUROC": "auroc",
    "from": "auroc_low",
    "to": "auroc_high",
    "TPR at 1 % FPR": "tpr_at_fpr_1pct",
    "p": "p_value",
    "epsilon at least": "epsilon_lower",
}
CONTROLS: Figures = {"p": "p_value"}
BLIND: Figures = {"AUROC": "blind_auroc", "p": "blind_p"}
PAPERS_COUNT: Figures = {
    "members counted": "members",
    "of": "n_members",
    "controls counted": "controls",
    "of controls": "n_control",
}
TARGETS: Figures = {
    "training images": "n_members",
    "accuracy on them": "train_accuracy",
    "accuracy on controls": "control_accuracy",
}


def over_seeds(rows: Sequence[Row], keys: Sequence[str], figures: Figures) -> Grid:
    """Return one line for each value of the key columns; over seeds, a figure is given as lowest and highest.

    Columns of figures that no line has are left out.

    Args:
        rows: Rows of one file.
        keys: Columns that name a line; the values of the first come in the order of the rows.
        figures: Columns to show.
    """
    lines = []
    for key, group in grouped(rows, keys).items():
        lines.append([*key, *figure_cells(group, figures)])
    return _without_empty(figure_columns(keys, figures), lines)


def with_verdicts(rows: Sequence[TestRow | ControlRow], keys: Sequence[str], figures: Figures) -> Grid:
    """Return the same with the verdicts, or the status of tests without one, after the keys."""
    lines = []
    for key, group in grouped(rows, keys).items():
        lines.append([*key, verdicts(group), *figure_cells(group, figures)])
    return _without_empty(figure_columns((*keys, "verdict"), figures), lines)


def figure_columns(names: Sequence[str], figures: Figures) -> list[GridColumn]:
    """Return the columns of names or words, and after them those of figures."""
    columns = list(map(GridColumn, names))
    return columns + [GridColumn(title, is_numeric=True) for title in figures]


def figure_cells(rows: Sequence[Row], figures: Figures) -> list[str]:
    """Return each figure over some rows as text, see `figure`."""
    return [figure(rows, column) for column in figures.values()]


def _without_empty(columns: Sequence[GridColumn], lines: Sequence[list[str]]) -> Grid:
    """Return a table without the columns of figures that no line has."""
    has_text = [not column.is_numeric for column in columns]
    for line in lines:
        for position, cell in enumerate(line):
            if cell:
                has_text[position] = True
    rows = [GridRow(list(compress(line, has_text))) for line in lines]
    return Grid(list(compress(columns, has_text)), [GridPart(rows)])


def figure(rows: Sequence[Row], column: str) -> str:
    """Return the values of a column as lowest and highest, in the form of its unit; empty where none is known."""
    if not rows:
        return ""
    unit = type(rows[0]).columns()[column].unit
    values = [getattr(row, column) for row in rows]
    return span(values, TEXT_BY_UNIT[unit])


def verdicts(rows: Sequence[TestRow | ControlRow]) -> str:
    """Return the verdicts, over several seeds with the number of each."""
    if len(rows) == 1:
        return _verdict(rows[0])
    clauses = []
    for name, count in Counter(map(_verdict, rows)).items():
        clauses.append(f"{name} {count}/{len(rows)}")
    return ", ".join(clauses)


def _verdict(row: TestRow | ControlRow) -> str:
    if row.status != "ok" or row.verdict is None:
        return row.status
    return f"{row.verdict} ({row.verdict_reason})" if row.verdict_reason else row.verdict


def why_without(row: TestRow | ControlRow) -> str:
    """Return the status of a test without a verdict, and the reason."""
    return f"{row.status}: {row.reason or 'no reason given'}"


def leakage_table(folder: Path) -> Table:
    """Return the verdicts ready to print, one line per target and method over all metrics and seeds.

    Args:
        folder: The folder of a leakage run.

    Raises:
        RunFolderError: The folder holds no ``table.csv``.
    """
    run = read_leakage_run(folder)
    warning = f"{FIRED}\n" if fired(run) else ""
    audited = findings(run)
    # Of many targets the page says it.
    sentence = f"{audited[0].sentence}\n" if len(audited) == 1 else ""
    caption = (
        f"{warning}{sentence}{_without_result(run)}"
        "Over metrics and seeds. leak: tests that say leak, of those that ran. Holm p: the smallest.\n"
        "hits: different pool images nearest to a reconstruction.\n"
        "limit: the scoring limit, distinct reconstructed members that a test calls a leak.\n"
        f"{attack_sentence(run)}\n"
        "Failing to find a leak is not evidence of anonymity."
    )
    table = plain_table(f"Leakage of training images. {headline_sentence(audited)}", caption)
    for name in ("target", "method", "verdict"):
        table.add_column(name, overflow="fold")
    for name in ("leak", "Holm p", "hits", "limit"):
        table.add_column(name, justify="right", overflow="fold")
    target_above = None
    for (target, method), rows in grouped(run.tests, ("target", "method")).items():
        if target != target_above:
            table.add_section()
        target_above = target
        finding = Finding(target, tested(rows))
        cells = (run.label(target), method, *_cells(finding, rows))
        style = "bold" if finding.verdict == "leak" else None
        table.add_row(*map(Text, cells), style=style)
    return table


def _without_result(run: LeakageRun) -> str:
    """Return a line for each reason why a test has no result, empty where all have one."""
    tests: dict[str, list[str]] = {}
    for row in gaps_of(run.tests):
        tests.setdefault(f"{row.status}, {row.reason or 'no reason given'}", []).append(f"{row.method} by {row.metric}")
    return "".join(f"No result: {', '.join(distinct(names))} ({reason}).\n" for reason, names in tests.items())


def _cells(finding: Finding, rows: list[TestRow]) -> list[str]:
    """Return the verdict, the number of leaks, the smallest p, hits and limit."""
    if not finding.tests:
        return [", ".join(dict.fromkeys(map(why_without, rows))), DASH, DASH, DASH, DASH]
    n_leaks = [row.verdict for row in finding.tests].count("leak")
    smallest = smallest_p(finding.tests)
    return [
        finding.words,
        f"{n_leaks}/{len(finding.tests)}",
        DASH if smallest is None else p_text(smallest[0]),
        figure(finding.tests, "distinct_hits") or DASH,
        figure(finding.tests, "scoring_limit") or DASH,
    ]


def grouped(rows: Iterable[R], columns: Sequence[str]) -> dict[tuple[str, ...], list[R]]:
    """Return the rows by their values in some columns; what is missing reads as a dash.

    The values of the first column come in the order of the rows, each with all of its lines together.
    """
    groups_by_first: dict[str, dict[tuple[str, ...], list[R]]] = {}
    for row in rows:
        key = tuple(str(getattr(row, column) or DASH) for column in columns)
        groups = groups_by_first.setdefault(key[0], {})
        groups.setdefault(key, []).append(row)
    together: dict[tuple[str, ...], list[R]] = {}
    for groups in groups_by_first.values():
        together.update(groups)
    return together
