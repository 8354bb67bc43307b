"""What stands in small print below the tables of a leakage run: what limits results, and why some are missing."""

from collections import Counter
from collections.abc import Sequence

from invaudit.records.columns import distinct
from invaudit.records.leakage import ControlRow, MembershipRow, TestRow
from invaudit.records.leakage_run import LeakageRun
from invaudit.report.leakage.tables import why_without


def directions(run: LeakageRun) -> list[str]:
    """Return a remark on the metrics whose lower value means more similar; the others are similarities already."""
    lower = []
    for metric in distinct(row.metric for row in run.tests):
        if metric in run.metrics and run.better(metric) == "lower":
            lower.append(metric)
    return [f"Remark: lower is more similar: {', '.join(lower)}."] if lower else []


def remarks_on_tests(rows: Sequence[TestRow]) -> list[str]:
    """Return what limits the results of tests, each remark with the tests concerned."""
    reasons, ran = [], []
    for row in rows:
        if row.status == "ok":
            name = f"{row.method} {row.metric} on {row.target}"
            reasons.append((name, row.reason))
            ran.append(name)
    return _remarks(reasons, ran)


def remarks_on_scores(rows: Sequence[MembershipRow]) -> list[str]:
    """Return what limits the results of membership scores, each remark with the scores concerned."""
    reasons, ran = [], []
    for row in rows:
        name = f"{row.score} on {row.target}"
        reasons.append((name, row.reason))
        if row.status == "ok":
            ran.append(name)
    return _remarks(reasons, ran)


def _remarks(reasons: Sequence[tuple[str, str | None]], ran: Sequence[str]) -> list[str]:
    """Return each reason with the names of the rows that have it.

    Args:
        reasons: Name of each row, and its reason.
        ran: Names of the rows that have a result.
    """
    names_by_reason: dict[str, dict[str, None]] = {}
    for name, reason in reasons:
        if reason:
            names_by_reason.setdefault(reason, {})[name] = None
    remarks = []
    for reason, names in names_by_reason.items():
        concerned = "all that ran" if names.keys() == set(ran) else ", ".join(names)
        remarks.append(f"Remark: {reason}: {concerned}.")
    return remarks


def remarks_on_gaps(gaps: Sequence[TestRow | ControlRow]) -> list[str]:
    """Return why tests have no result, each reason with the number of them."""
    counts = Counter(map(why_without, gaps))
    remarks = []
    for why, count in counts.items():
        tests = "1 test" if count == 1 else f"{count} tests"
        remarks.append(f"Remark: {why} ({tests}).")
    return remarks
