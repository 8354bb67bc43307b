"""The tables of a leakage run: for the page, and short for the terminal."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table
from rich.text import Text

from invaudit.report.leakage.findings import FIRED, Finding, attack_sentence, findings, fired, headline_sentence, tested
from invaudit.report.leakage.run import read_leakage_run
from invaudit.report.printing import DASH, level, p_text, plain_table, span
from invaudit.report.records import Row

whole, two_decimals, three_decimals = "{:.0f}".format, "{:.2f}".format, "{:.3f}".format
# Title of a column -> column of the file, and how its figures read.
Figures = Mapping[str, tuple[str, Callable[[Any], str]]]
TESTS: Figures = {
    "Holm p": ("p_adjusted", p_text),
    "distinct hits": ("distinct_hits", whole),
    "to member": ("similarity_member", three_decimals),
    "to control": ("similarity_control", three_decimals),
    "scoring limit": ("scoring_limit", whole),
}
MEMBERSHIP: Figures = {
    "AUROC": ("auroc", level),
    "from": ("auroc_low", level),
    "to": ("auroc_high", level),
    "TPR at 1 % FPR": ("tpr_at_fpr_1pct", level),
    "p": ("p_value", p_text),
    "epsilon at least": ("epsilon_lower", two_decimals),
}
CONTROLS: Figures = {"p": ("p_value", p_text)}
BLIND: Figures = {"AUROC": ("blind_auroc", level), "p": ("blind_p", p_text)}
PAPERS_COUNT: Figures = {
    "members counted": ("members", whole),
    "of": ("n_members", whole),
    "controls counted": ("controls", whole),
    "of controls": ("n_control", whole),
}
TARGETS: Figures = {
    "training images": ("n_members", whole),
    "accuracy on them": ("train_accuracy", level),
    "accuracy on controls": ("control_accuracy", level),
}


def over_seeds(rows: Iterable[Row], keys: Sequence[str], figures: Figures, *, verdict: str = "") -> pd.DataFrame:
    """Return one line of text per value of the key columns; over seeds, a figure is given as lowest and highest.

    Args:
        rows: Rows of one file.
        keys: Columns that name a line; the values of the first come in the order of the rows.
        figures: Columns to show.
        verdict: Title of the column that holds the verdicts, or the status of tests without one; empty for no such
            column.
    """
    lines = []
    for key, part in grouped(rows, keys).items():
        line = dict(zip(keys, key, strict=True)) | ({verdict: _verdicts(part)} if verdict else {})
        shown = {title: span((row[column] for row in part), text) for title, (column, text) in figures.items()}
        lines.append(line | shown)
    return pd.DataFrame(lines)


def _verdicts(rows: list[Row]) -> str:
    """Return the verdicts, over several seeds with the number of each."""
    counts = Counter(_verdict(row) for row in rows)
    return ", ".join(f"{name} {n}/{len(rows)}" if len(rows) > 1 else name for name, n in counts.items())


def _verdict(row: Row) -> str:
    if row.get("status", "ok") != "ok" or row["verdict"] is None:
        return row["status"]
    reason = row.get("verdict_reason")
    return f"{row['verdict']} ({reason})" if reason else row["verdict"]


def why_without(row: Row) -> str:
    """Return the status of a test without a verdict, and the reason."""
    return f"{row['status']}: {row['reason'] or 'no reason given'}"


def leakage_table(folder: Path) -> Table:
    """Return the verdicts ready to print, one line per target and method over all metrics and seeds.

    Args:
        folder: The folder of a leakage run.

    Raises:
        RunFolderError: The folder holds no ``table.csv``.
    """
    run = read_leakage_run(folder)
    caption = f"{FIRED}\n" if fired(run) else ""
    caption += (
        "Over metrics and seeds. leak: tests that say leak, of those that ran. Holm p: the smallest.\n"
        "hits: different pool images nearest to a reconstruction.\n"
        "limit: the scoring limit, distinct reconstructed members that a test calls a leak.\n"
        f"{attack_sentence(run)}\n"
        "Failing to find a leak is not evidence of anonymity."
    )
    table = plain_table(f"Leakage of training images. {headline_sentence(findings(run))}", caption)
    for name in ("target", "method", "verdict"):
        table.add_column(name, overflow="fold")
    for name in ("leak", "Holm p", "hits", "limit"):
        table.add_column(name, justify="right", overflow="fold")
    lines = list(grouped(run.rows, ("target", "method")).items())
    for (key, rows), following in zip(lines, [*lines[1:], None], strict=True):
        last = following is None or following[0][0] != key[0]
        finding = Finding(key[0], tested(rows))
        style = "bold" if finding.verdict == "leak" else None
        table.add_row(*map(Text, (run.label(key[0]), key[1], *_cells(finding, rows))), style=style, end_section=last)
    return table


def _cells(finding: Finding, rows: list[Row]) -> list[str]:
    ran = finding.tests
    if not ran:
        return [", ".join(dict.fromkeys(map(why_without, rows))), DASH, DASH, DASH, DASH]
    n_leaks = sum(row["verdict"] == "leak" for row in ran)
    smallest = DASH if finding.smallest is None else p_text(finding.smallest["p_adjusted"])
    counts = [span((row[name] for row in ran), whole) or DASH for name in ("distinct_hits", "scoring_limit")]
    return [finding.words, f"{n_leaks}/{len(ran)}", smallest, *counts]


def grouped(rows: Iterable[Row], columns: Sequence[str]) -> dict[tuple[str, ...], list[Row]]:
    """Return the rows by their values in some columns; what is missing reads as a dash.

    The values of the first column come in the order of the rows, each with all of its lines together.
    """
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(str(row[name] or DASH) for name in columns), []).append(row)
    first = list(dict.fromkeys(key[0] for key in found))
    return dict(sorted(found.items(), key=lambda item: first.index(item[0][0])))
