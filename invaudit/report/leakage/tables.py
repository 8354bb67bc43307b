"""The tables of a leakage run: for the page, and short for the terminal."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
from rich.table import Table
from rich.text import Text

from invaudit.report.leakage.findings import LIMITS, Finding, attack_sentence, findings, headline_sentence, tested
from invaudit.report.leakage.run import LeakageRun, read_leakage_run
from invaudit.report.printing import DASH, level, p_text, plain_table, span
from invaudit.report.records import Row

KEYS = ("target", "method", "metric")
whole, two_decimals, three_decimals = "{:.0f}".format, "{:.2f}".format, "{:.3f}".format


def results(run: LeakageRun) -> pd.DataFrame:
    """Return one line of text per target, method and metric: the verdict, or why there is none.

    Over several seeds, a verdict says in how many of them, a figure is given as lowest and highest.
    """
    return pd.DataFrame([_result(key, rows) for key, rows in grouped(run.rows, KEYS).items()])


def _result(key: tuple[str, ...], rows: list[Row]) -> dict[str, str]:
    ran = tested(rows)
    verdicts = Counter(_verdict(row) for row in rows)
    counted = [f"{name} {n}/{len(rows)}" if len(rows) > 1 else name for name, n in verdicts.items()]
    return dict(zip(KEYS, key, strict=True)) | {
        "verdict": ", ".join(counted),
        "Holm p": span((row["p_adjusted"] for row in ran), p_text),
        "distinct hits": span((row["distinct_hits"] for row in ran), whole),
        "to member": span((row["similarity_member"] for row in ran), three_decimals),
        "to control": span((row["similarity_control"] for row in ran), three_decimals),
        "scoring limit": span((row["scoring_limit"] for row in ran), whole),
    }


def _verdict(row: Row) -> str:
    if row["status"] != "ok":
        return f"{row['status']}: {row['reason'] or 'no reason given'}"
    return f"{row['verdict']} ({row['verdict_reason']})" if row["verdict_reason"] else str(row["verdict"])


def membership_results(run: LeakageRun) -> pd.DataFrame:
    """Return one line of text per target and membership score, rates in per cent.

    With one seed the AUROC has its interval; over several, lowest and highest are given instead.
    """
    rows = run.membership_rows
    several = len({row["seed"] for row in rows}) > 1
    return pd.DataFrame([_membership(key, part, several) for key, part in grouped(rows, ("target", "score")).items()])


def _membership(key: tuple[str, ...], rows: list[Row], several: bool) -> dict[str, str]:
    ran = [row for row in rows if row["auroc"] is not None]
    values = [row[name] for row in ran for name in (("auroc",) if several else ("auroc_low", "auroc_high"))]
    failed = dict.fromkeys(f"{row['status']}: {row['reason']}" for row in rows if row["status"] != "ok")
    return {
        "target": key[0],
        "score": key[1],
        "AUROC": level(sum(row["auroc"] for row in ran) / len(ran)) if ran else "",
        "over seeds" if several else "95 % interval": span(values, level),
        "TPR at 1 % FPR": span((row["tpr_at_fpr_1pct"] for row in ran), level),
        "p": span((row["p_value"] for row in ran), p_text),
        "epsilon at least": span((row["epsilon_lower"] for row in ran), two_decimals),
        "remark": "; ".join(failed),
    }


def leakage_table(folder: Path) -> Table:
    """Return the verdicts ready to print, one line per target and method over all metrics and seeds.

    Args:
        folder: The folder of a leakage run.

    Raises:
        RunFolderError: The folder holds no ``table.csv``.
    """
    run = read_leakage_run(folder)
    caption = (
        "One line per method, over its metrics and seeds. leak: tests that say leak, of those that ran.\n"
        "Holm p: the smallest. hits: different pool images nearest to a reconstruction.\n"
        "limit: the scoring limit, distinct reconstructed members that a test calls a leak.\n"
        f"{attack_sentence(run)}\n{LIMITS}"
    )
    table = plain_table(f"Leakage. {headline_sentence(findings(run))}", caption)
    for name in ("target", "method", "verdict"):
        table.add_column(name, overflow="fold")
    for name in ("leak", "Holm p", "hits", "limit"):
        table.add_column(name, justify="right", overflow="fold")
    lines = list(grouped(run.rows, ("target", "method")).items())
    for (key, rows), following in zip(lines, [*lines[1:], None], strict=True):
        last = following is None or following[0][0] != key[0]
        finding = Finding(key[0], tested(rows))
        leaks = finding.verdict == "leak"
        table.add_row(*map(Text, (*key, *_line(finding, rows))), style="bold" if leaks else None, end_section=last)
    return table


def _line(finding: Finding, rows: list[Row]) -> list[str]:
    ran = finding.tests
    if not ran:
        verdict = ", ".join(dict.fromkeys(_verdict(row) for row in rows))
        return [verdict, DASH, DASH, DASH, DASH]
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
