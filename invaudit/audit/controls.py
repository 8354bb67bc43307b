"""Controls of an audit: an attack that must find a known leak, and targets where no attack may find one."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from invaudit.audit.rows import TestKey, declared_tests, holm_by_test, verdicts_by_test
from invaudit.records import AuditRecord, ControlRow, TestRow
from invaudit.stats import BlindFinding, Verdict, holm


def attack_verdicts(
    record: AuditRecord,
    methods: Sequence[str],
    metrics: Sequence[str],
    *,
    design: str,
    alpha: float,
    blind: BlindFinding | None = None,
) -> dict[TestKey, Verdict]:
    """Return by test whether the leak that is known to be there is found, by the rule of all targets.

    Args:
        record: The audit of the target that is known to leak.
        methods: The declared methods.
        metrics: The declared metrics.
        design: Design of its pool.
        alpha: Level of the family.
        blind: What the blind baseline found on its pool, which ``observational`` needs.
    """
    return verdicts_by_test(
        record,
        holm_by_test(record, methods, metrics),
        design=design,
        family=len(declared_tests(methods, metrics)),
        alpha=alpha,
        blind=blind,
        called=dict.fromkeys(methods, True),
    )


def called_methods(verdicts: Mapping[TestKey, Verdict], methods: Sequence[str]) -> dict[str, bool]:
    """Return for each method whether any of its tests calls the known leak a leak."""
    called = dict.fromkeys(methods, False)
    for key, verdict in verdicts.items():
        if verdict.verdict == "leak":
            called[key.method] = True
    return called


def attack_rows(target: str, seed: int, record: AuditRecord, verdicts: Mapping[TestKey, Verdict]) -> list[ControlRow]:
    """Return one row for every test of the target that is known to leak."""
    rows = []
    for method, tests in record.tests.items():
        for metric, test in tests.items():
            word, reason = verdicts.get(TestKey(method, metric)) or (None, None)
            rows.append(
                ControlRow(
                    kind="attack",
                    target=target,
                    method=method,
                    metric=metric,
                    seed=seed,
                    p_value=test.p_value,
                    verdict=word,
                    verdict_reason=reason,
                    status=test.status,
                    reason=test.reason,
                )
            )
    return rows


def negative_p_values(records: Iterable[AuditRecord]) -> dict[TestKey, float]:
    """Return the smallest p-value of the negative controls by test, adjusted for all tests of all of them."""
    keys, p_values = [], []
    for record in records:
        for method, tests in record.tests.items():
            for metric, test in tests.items():
                if test.p_value is not None:
                    keys.append(TestKey(method, metric))
                    p_values.append(test.p_value)
    smallest: dict[TestKey, float] = {}
    for key, p in zip(keys, holm(np.array(p_values)) if p_values else [], strict=True):
        smallest[key] = min(float(p), smallest.get(key, 1.0))
    return smallest


def negative_row(row: TestRow) -> ControlRow:
    """Return the row of a negative control, from its row in the table of all tests."""
    return ControlRow.of(row, kind="negative")
