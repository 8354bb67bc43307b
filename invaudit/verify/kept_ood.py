"""What the tables of an OOD run say of one another, where its scores are not kept.

The summary follows from the table by seed where that is kept; the mean over sets, and the difference to the reference,
follow from the rows of single sets; what ours accepts of an attack stands in two tables.
"""

import math
from collections.abc import Iterator
from typing import Any

from invaudit.benchmarks.ood.tables import METRICS, summary_lines
from invaudit.records import AttackRow, OodRow, OodRun, OodSummaryRow, ResistanceRow, read_ood_run
from invaudit.records.names import AGGREGATES, OURS, SUMMARY, TABLE
from invaudit.verify.comparing import Tolerance, cells_of_rows, compare_tables, compare_value
from invaudit.verify.findings import Compared, Difference, Findings

ROUNDED = Tolerance(2e-4, 2e-5)
"""Of figures with five digits, and of what is made of them."""
MEANS = {name: groups for name, (how, groups) in AGGREGATES.items() if how == "mean"}
WORST = {name: groups for name, (how, groups) in AGGREGATES.items() if how == "worst"}
FROM_TABLE = ("group", "n_sets", "seeds", "auroc_sd", "status", "reason", *METRICS)
UNCHECKED = (
    "AUROC and error rates of single sets, intervals, p-values: the scores that they are made from are not kept here",
    "cost.csv, calibration.csv, weights.csv, decisions.csv: nothing that is kept here gives them",
)


def check_kept_ood(findings: Findings) -> None:
    """Check the tables of an OOD run against each other."""
    run = read_ood_run(findings.folder)
    if run.table:
        findings.note(_from_table(run))
    else:
        findings.unchecked.append(f"{SUMMARY} against {TABLE}: the table by seed is not kept here")
    for check in (_means, _differences, _attacks, _ranges):
        findings.note(check(run))
    if not run.controls_passed:
        findings.differences.append(Difference("controls.json", words="it does not say that controls passed"))
    findings.unchecked += UNCHECKED


def _from_table(run: OodRun) -> Compared:
    """Compare the summary with the means over seeds of the table; NaN stands for what the table does not hold."""
    rows = [row.model_copy(update=_nan_for_unknown(row)) for row in run.table if row.group != "control"]
    made = [line.row for line in summary_lines(rows, None)]
    stored = [row for row in run.summary if row.group != "control"]
    # Older records do not say in the table which sets are trivial.
    columns = ("trivial", *FROM_TABLE) if any(row.trivial for row in rows) else FROM_TABLE
    return compare_tables(SUMMARY, cells_of_rows(stored), cells_of_rows(made), ROUNDED, columns)


def _nan_for_unknown(row: OodRow) -> dict[str, float]:
    return {metric: math.nan for metric in METRICS if getattr(row, metric) is None}


def _means(run: OodRun) -> Compared:
    """Compare the means over sets with the sets, and the worst set with the smallest mean, which it is not above."""
    compared = Compared(SUMMARY, "means over sets")
    by_detector: dict[tuple[str, str], list[OodSummaryRow]] = {}
    for row in run.summary:
        by_detector.setdefault((row.network, row.detector), []).append(row)
    for rows in by_detector.values():
        for row in rows:
            groups = MEANS.get(row.ood_set) or WORST.get(row.ood_set)
            if groups is None or row.auroc is None:
                continue
            sets = [
                one for one in rows if one.ood_set not in AGGREGATES and one.group in groups and one.seeds == row.seeds
            ]
            if row.n_sets == len(sets):
                _compare_aggregate(compared, row, sets)
    return compared


def _compare_aggregate(compared: Compared, row: OodSummaryRow, sets: list[OodSummaryRow]) -> None:
    if row.ood_set in MEANS:
        for metric in METRICS:
            values = [getattr(one, metric) for one in sets]
            if None not in values and getattr(row, metric) is not None:
                mean = str(sum(values) / len(values))
                compare_value(compared, str(getattr(row, metric)), mean, ROUNDED, _place(row), metric)
        return
    smallest = min(one.auroc for one in sets if one.auroc is not None)
    if row.auroc is not None and row.auroc > smallest and not ROUNDED.allows(row.auroc, smallest):
        words = f"{row.auroc:g} is above {smallest:g}, the smallest mean of a set"
        compared.differences.append(Difference(SUMMARY, _place(row), "auroc", words=words))
    else:
        compared.exact += 1


def _differences(run: OodRun) -> Compared:
    """Compare differences with the AUROC of the row less that of the reference, where both have all seeds."""
    compared = Compared(SUMMARY, "differences to the reference")
    reference = {}
    for row in run.summary:
        if run.reference is not None and (row.network, row.detector) == run.reference.row:
            reference[row.ood_set] = row
    for row in run.summary:
        other = reference.get(row.ood_set)
        if row.difference is None or other is None or other.auroc is None or row.auroc is None:
            continue
        if row.seeds == other.seeds:
            compare_value(
                compared, str(row.difference), str(row.auroc - other.auroc), ROUNDED, _place(row), "difference"
            )
    return compared


def _attacks(run: OodRun) -> Compared:
    """Compare what ours accepts of each attack in the two tables that say it."""
    compared = Compared("resistance.csv", "against attacks.csv")
    ours = {}
    for row in run.rows(AttackRow):
        if row.detector == OURS[1]:
            ours[row.seed, row.network, row.attack] = row
    for row in run.rows(ResistanceRow):
        other = ours.get((row.seed, row.network, row.attack))
        for column in ("accepted", "passed") if other is not None else ():
            place = f"seed {row.seed}, network {row.network}, attack {row.attack}"
            compare_value(compared, str(getattr(row, column)), str(getattr(other, column)), ROUNDED, place, column)
    return compared


def _ranges(run: OodRun) -> Compared:
    """Check that rates and probabilities are some, and that intervals have a lower and an upper end."""
    compared = Compared("tables", "ranges")
    for file, rows in ((SUMMARY, run.summary), (TABLE, run.table)):
        for row in rows:
            for column, rising in _rising(row):
                known = [value for value in rising if value is not None]
                if known == sorted(known):
                    compared.exact += 1
                else:
                    words = "does not hold: " + " <= ".join(f"{value:g}" for value in known)
                    compared.differences.append(Difference(file, _place(row), column, words=words))
    return compared


def _rising(row: OodRow | OodSummaryRow) -> Iterator[tuple[str, list[Any]]]:
    """Yield what has to rise in a row, by the column that it is about."""
    for metric in METRICS:
        yield metric, [0.0, getattr(row, metric), 1.0]
    if isinstance(row, OodRow):
        yield "auroc", [0.0, row.auroc_low, row.auroc, row.auroc_high, 1.0]
    else:
        yield "difference", [row.difference_low, row.difference_high]
        yield "p_adjusted", [0.0, row.p_adjusted, 1.0]


def _place(row: OodRow | OodSummaryRow) -> str:
    seed = f"seed {row.seed}, " if isinstance(row, OodRow) else ""
    return f"{seed}network {row.network}, detector {row.detector}, ood_set {row.ood_set}"
