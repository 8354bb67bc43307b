"""What the tables of a leakage run say of one another, where its scores are not kept.

The summary follows from the rows, adjusted p-values from the p-values of a target, and a verdict is one of those that
the rule gives for what the tables do not hold: the smallest attainable p-value, and the finding of the blind baseline.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, get_args

from invaudit.audit.controls import negative_p_values, negative_row
from invaudit.audit.rows import TestKey, holm_by_test
from invaudit.benchmarks.leakage.tables import summary_rows
from invaudit.records import (
    LEAKAGE_RUN,
    AuditRecord,
    ControlRow,
    LeakageRun,
    TargetDescription,
    TestResult,
    TestRow,
    read_leakage_run,
    schema_of,
)
from invaudit.records.leakage import BlindFinding, Design
from invaudit.records.names import GIVEN, SUMMARY, TABLE
from invaudit.stats import ALPHA, Verdict, decide
from invaudit.verify.comparing import Tolerance, cells_of_rows, compare_tables, compare_value
from invaudit.verify.findings import Compared, Difference, Findings

CONTROLS = "controls.csv"
ROUNDED = Tolerance(2e-4, 2e-5)
"""Of figures with five digits, and of what is made of them."""
UNCHECKED = (
    "p-values, similarities, AUROC, intervals, scoring limits: the scores that they are made from are not kept here",
    "why a verdict is underpowered or finds a shift: what decides it stands in records that are not kept here",
)
RULE_OF_CONTROLS = 2
"""Schema from which on the attack control is judged by the rule of all targets."""
BLIND: tuple[BlindFinding | None, ...] = (None, *get_args(BlindFinding))
PLACE = ("target", "method", "metric", "seed")


def check_kept_leakage(findings: Findings) -> None:
    """Check the tables of a leakage run against each other."""
    run = read_leakage_run(findings.folder)
    alpha = run.alpha or ALPHA
    made = summary_rows(run.tests, run.membership, alpha)
    if run.summary or made:
        findings.note(compare_tables(SUMMARY, cells_of_rows(run.summary), cells_of_rows(made), ROUNDED))
    findings.note(_negative_controls(run))
    # A p-value that is none cannot be adjusted.
    with findings.noted(TABLE):
        findings.note(_verdicts(run, alpha))
    if schema_of(findings.folder, LEAKAGE_RUN) < RULE_OF_CONTROLS:
        findings.unchecked.append("verdicts of the attack control: this older version judged a method by all metrics")
    else:
        with findings.noted(CONTROLS):
            findings.note(_attack_controls(run, alpha))
    findings.note(_ranges(run))
    findings.unchecked += UNCHECKED


def _negative_controls(run: LeakageRun) -> Compared:
    """Compare the rows of negative controls with the table of all tests."""
    stored = [row for row in run.controls if row.kind == "negative"]
    made = [negative_row(row) for row in run.tests if row.target in run.negative_targets]
    return compare_tables(CONTROLS, cells_of_rows(stored), cells_of_rows(made), ROUNDED)


def _verdicts(run: LeakageRun, alpha: float) -> Compared:
    """Compare adjusted p-values with those of the family, and verdicts with those that the rule allows."""
    compared = Compared(TABLE, "verdicts")
    methods, metrics = _family(run)
    negatives = negative_p_values(_record(rows) for name, rows in _by_target(run.tests) if name in run.negative_targets)
    called = _called(run)
    for name, rows in _by_target(run.tests):
        adjusted = holm_by_test(_record(rows), methods, metrics)
        for row in rows:
            key = TestKey(str(row.method), str(row.metric))
            place = ", ".join(f"{column} {getattr(row, column)}" for column in PLACE)
            if row.p_value is None:
                continue
            compare_value(compared, str(row.p_adjusted), str(adjusted.get(key)), ROUNDED, place, "p_adjusted")
            fixed = {
                "alpha": alpha,
                "family": len(methods) * len(metrics),
                "negative_control_p": None if name in run.negative_targets else negatives.get(key),
                "attack_control_called": called.get(key.method),
                "exploratory": bool(run.settings.get("used_members")),
            }
            _check_verdict(compared, place, row, adjusted.get(key), fixed)
    return compared


def _family(run: LeakageRun) -> tuple[list[str], list[str]]:
    """Return the declared methods and metrics."""
    return list(run.settings.get("methods", (GIVEN,))), list(run.settings.get("metrics", ()))


def _attack_controls(run: LeakageRun, alpha: float) -> Compared:
    """Compare the verdicts of the attack control with those that the rule allows for its p-values."""
    compared = Compared(CONTROLS, "attack control")
    methods, metrics = _family(run)
    fixed = {"alpha": alpha, "family": len(methods) * len(metrics), "attack_control_called": True}
    rows = [row for row in run.controls if row.kind == "attack" and row.p_value is not None]
    adjusted = holm_by_test(_record(rows), methods, metrics)
    for row in rows:
        place = f"target {row.target}, method {row.method}, metric {row.metric}"
        _check_verdict(compared, place, row, adjusted.get(TestKey(str(row.method), str(row.metric))), fixed)
    return compared


def _check_verdict(
    compared: Compared, place: str, row: TestRow | ControlRow, p_adjusted: float | None, fixed: dict[str, Any]
) -> None:
    """Compare a verdict with all that the rule gives for what is not kept; no p-value: the test was not declared."""
    file = TABLE if isinstance(row, TestRow) else CONTROLS
    if p_adjusted is None:
        compared.differences.append(Difference(file, place, words="the config declares no such method or metric"))
        return
    allowed: list[Verdict] = []
    # What is not kept: whether the hits can reach the level, what the blind baseline found, the design of a control.
    designs = (row.design,) if isinstance(row, TestRow) else get_args(Design)
    for attainable, blind, design in product((0.0, 1.0), BLIND, designs):
        verdict = decide(p_adjusted, attainable, design=str(design), blind=blind, **fixed)
        if verdict not in allowed:
            allowed.append(verdict)
    words = [_words(verdict) for verdict in allowed]
    stored = _words(Verdict(row.verdict or "inconclusive", row.verdict_reason))
    if stored in words:
        compared.exact += 1
    else:
        compared.differences.append(Difference(file, place, "verdict", stored, " or ".join(words)))


def _words(verdict: Verdict) -> str:
    return f"{verdict.verdict} ({verdict.reason})" if verdict.reason else verdict.verdict


def _called(run: LeakageRun) -> dict[str, bool]:
    """Return for each method whether any row of the attack control says leak."""
    called: dict[str, bool] = {}
    for row in run.controls:
        if row.kind == "attack" and row.method is not None:
            called[row.method] = called.get(row.method, False) or row.verdict == "leak"
    return called


def _by_target(tests: Sequence[TestRow]) -> Iterator[tuple[str, list[TestRow]]]:
    """Yield the name and the tests of each target and seed."""
    groups: dict[tuple[str, int | None], list[TestRow]] = {}
    for row in tests:
        groups.setdefault((row.target, row.seed), []).append(row)
    for (name, _), rows in groups.items():
        yield name, rows


def _record(rows: Sequence[TestRow] | Sequence[ControlRow]) -> AuditRecord:
    """Return what the table says of the tests of one target, as the record of its audit."""
    tests: dict[str, dict[str, TestResult]] = {}
    for row in rows:
        tests.setdefault(str(row.method), {})[str(row.metric)] = TestResult(p_value=row.p_value)
    return AuditRecord(target=TargetDescription(design="pairs"), tests=tests)


def _ranges(run: LeakageRun) -> Compared:
    """Check that figures lie where figures of their kind can."""
    compared = Compared("tables", "ranges")
    for row in run.membership:
        place = f"target {row.target}, score {row.score}, seed {row.seed}"
        ordered = [value for value in (row.auroc_low, row.auroc, row.auroc_high) if value is not None]
        _check_range(compared, "membership.csv", place, "auroc", [0.0, *ordered, 1.0])
    for row in run.tests:
        place = ", ".join(f"{column} {getattr(row, column)}" for column in PLACE)
        for column in ("p_value", "p_adjusted", "blind_auroc", "blind_p"):
            value = getattr(row, column)
            if value is not None:
                _check_range(compared, TABLE, place, column, [0.0, value, 1.0])
        if row.scoring_limit is not None and row.n_members is not None:
            _check_range(compared, TABLE, place, "scoring_limit", [1, row.scoring_limit, row.n_members])
    return compared


def _check_range(compared: Compared, file: str, place: str, column: str, rising: Sequence[float]) -> None:
    if list(rising) == sorted(rising):
        compared.exact += 1
    else:
        words = " <= ".join(f"{value:g}" for value in rising)
        compared.differences.append(Difference(file, place, column, words="does not hold: " + words))
