"""The rows of a leakage table: what an audit found, adjusted over the declared family and turned into verdicts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from invaudit.records import (
    AuditRecord,
    LimitResult,
    MembershipRow,
    PapersCountRow,
    PoolRecord,
    TargetDescription,
    TargetRow,
    TestResult,
    TestRow,
)
from invaudit.records.model_audit import MembershipTestRow
from invaudit.stats import ALPHA, BlindFinding, Verdict, decide, holm, judge_family


class TestKey(NamedTuple):
    """Names one test of a target."""

    __test__ = False

    method: str
    metric: str


class Audited(NamedTuple):
    """What all rows of one audit have in common: who was audited, on how many images."""

    target: str
    seed: int
    design: str
    n_members: int | None
    n_control: int | None

    @classmethod
    def of(cls, target: str, seed: int, description: TargetDescription) -> "Audited":
        """Return it from what the record of the audit says of its target."""
        return cls(target, seed, description.design, description.n_members, description.n_control)


def declared_tests(methods: Sequence[str], metrics: Sequence[str]) -> list[TestKey]:
    """Return the declared family of tests: every method with every metric."""
    return [TestKey(method, metric) for method in methods for metric in metrics]


def holm_by_test(record: AuditRecord, methods: Sequence[str], metrics: Sequence[str]) -> dict[TestKey, float]:
    """Return Holm's p-values of one target by method and metric.

    The family is every declared method with every declared metric; a test that gave no p-value counts as p = 1, so
    that a test that failed does not make the others easier.
    """
    keys = declared_tests(methods, metrics)
    p_values: list[float] = []
    measured: set[TestKey] = set()
    for key in keys:
        test = record.tests.get(key.method, {}).get(key.metric, TestResult())
        if test.p_value is None:
            p_values.append(1.0)
        else:
            p_values.append(test.p_value)
            measured.add(key)
    adjusted: dict[TestKey, float] = {}
    for key, p_value in zip(keys, holm(np.array(p_values)), strict=True):
        if key in measured:
            adjusted[key] = float(p_value)
    return adjusted


def verdicts_by_test(
    record: AuditRecord,
    adjusted: Mapping[TestKey, float],
    *,
    design: str,
    family: int,
    alpha: float = ALPHA,
    blind: BlindFinding | None = None,
    negatives: Mapping[TestKey, float] | None = None,
    called: Mapping[str, bool] | None = None,
    exploratory: bool = False,
) -> dict[TestKey, Verdict]:
    """Return the verdict of every test that gave a p-value, by the one rule of `decide`.

    Args:
        record: What the audit found.
        adjusted: From `holm_by_test`.
        design: Design of the pool.
        family: Number of declared tests.
        alpha: Level of the family.
        blind: What the blind baseline found on the pool, which ``observational`` needs.
        negatives: Smallest p-value of the negative controls by test, adjusted for their number.
        called: Method -> whether its attack control was called ``leak``; a method without one is left out.
        exploratory: Whether something used members of the target.
    """
    verdicts = {}
    for key, p_adjusted in adjusted.items():
        verdicts[key] = decide(
            p_adjusted,
            record.tests[key.method][key.metric].attainable_p,
            design=design,
            alpha=alpha,
            family=family,
            blind=blind,
            negative_control_p=(negatives or {}).get(key),
            attack_control_called=(called or {}).get(key.method),
            exploratory=exploratory,
        )
    return verdicts


def judge_rows(
    audited: Audited,
    record: AuditRecord,
    pool: PoolRecord,
    methods: Sequence[str],
    metrics: Sequence[str],
    *,
    alpha: float = ALPHA,
    negatives: Mapping[TestKey, float] | None = None,
    called: Mapping[str, bool] | None = None,
    exploratory: bool = False,
) -> list[TestRow]:
    """Return one row for every declared method and metric of one target.

    Args:
        audited: Who was audited.
        record: What the audit found.
        pool: What the pool allows by itself.
        methods: The declared methods.
        metrics: The declared metrics.
        alpha: Level of the family.
        negatives: Smallest p-value of the negative controls by test, adjusted for their number.
        called: Method -> whether its attack control was called ``leak``; a method without one is left out.
        exploratory: Whether something used members of the target.
    """
    adjusted = holm_by_test(record, methods, metrics)
    keys = declared_tests(methods, metrics)
    verdicts = verdicts_by_test(
        record,
        adjusted,
        design=audited.design,
        family=len(keys),
        alpha=alpha,
        blind=pool.blind.finding,
        negatives=negatives,
        called=called,
        exploratory=exploratory,
    )
    rows = []
    for key in keys:
        test = record.tests[key.method][key.metric]
        n_reconstructions = record.methods[key.method].n
        limit = pool.limits.get(f"{key.metric}/{n_reconstructions}")
        rows.append(_row(audited, key, test, adjusted.get(key), verdicts.get(key), n_reconstructions, limit, pool))
    return rows


def _row(
    audited: Audited,
    key: TestKey,
    test: TestResult,
    p_adjusted: float | None,
    verdict: Verdict | None,
    n_reconstructions: int | None,
    limit: LimitResult | None,
    pool: PoolRecord,
) -> TestRow:
    word, verdict_reason = verdict or (None, None)
    reasons = [test.reason] if test.reason else []
    if verdict is not None and not reasons and (limit is None or limit.members is None):
        reasons.append(_why_no_limit(limit))
    if verdict is not None and pool.blind.reason and audited.design == "observational":
        reasons.append(f"blind baseline: {pool.blind.reason}")
    return TestRow(
        target=audited.target,
        method=key.method,
        metric=key.metric,
        design=audited.design,
        seed=audited.seed,
        n_members=audited.n_members,
        n_control=audited.n_control,
        n_reconstructions=n_reconstructions,
        similarity_member=test.similarity_member,
        similarity_control=test.similarity_control,
        distinct_hits=test.distinct_hits,
        p_value=test.p_value,
        p_adjusted=p_adjusted,
        verdict=word,
        verdict_reason=verdict_reason,
        scoring_limit=None if limit is None else limit.members,
        blind_auroc=pool.blind.auroc,
        blind_p=pool.blind.p_value,
        seconds=test.seconds,
        status=test.status,
        reason="; ".join(reasons),
    )


def _why_no_limit(limit: LimitResult | None) -> str:
    if limit is None:
        return "no scoring limit: no reference images"
    if limit.status != "ok":
        return f"no scoring limit: {limit.reason}"
    called = f"with all members reconstructed {limit.power:.0%} of simulated audits call a leak"
    return f"no scoring limit: {called}, too few to be sure of 95 %"


def membership_rows(audited: Audited, record: AuditRecord) -> list[MembershipRow]:
    """Return one row for every membership score of one target."""
    rows = []
    for score, result in record.membership.items():
        measured = result.model_dump(exclude={"seconds", "attainable_p", "n_members", "n_control"})
        row = MembershipRow(
            target=audited.target,
            score=score,
            design=audited.design,
            seed=audited.seed,
            n_members=audited.n_members if result.n_members is None else result.n_members,
            n_control=audited.n_control if result.n_control is None else result.n_control,
            **measured,
        )
        rows.append(row)
    return rows


def judge_membership(
    audited: Audited,
    record: AuditRecord,
    pool: PoolRecord,
    *,
    alpha: float = ALPHA,
    called: Mapping[str, bool] | None = None,
    negative_p: float | None = None,
) -> list[MembershipTestRow]:
    """Return one row for every membership score of one target, by the rule of all verdicts.

    The family is every declared score (`judge_family`).

    Args:
        audited: Who was audited.
        record: What the audit found.
        pool: What the pool allows by itself.
        alpha: Level of the family.
        called: Score -> whether it finds the known leak of the attack control; a score without one is left out.
        negative_p: p-value of the negative control; None: none was run.
    """
    family = record.membership_family
    judged = judge_family(
        family,
        design=audited.design,
        alpha=alpha,
        blind=pool.blind.finding,
        negative_control_p=negative_p,
        called=called,
    )
    rows = []
    for score, result in family.items():
        one = judged.get(score) if result.status == "ok" else None
        rows.append(
            MembershipTestRow(
                target=audited.target,
                score=score,
                design=audited.design,
                seed=audited.seed,
                n_members=audited.n_members if result.n_members is None else result.n_members,
                n_control=audited.n_control if result.n_control is None else result.n_control,
                auroc=result.auroc,
                p_value=result.p_value,
                p_adjusted=None if one is None else one.p_adjusted,
                verdict=None if one is None else one.verdict.verdict,
                verdict_reason=None if one is None else one.verdict.reason,
                status=result.status,
                reason=result.reason if one is None else "",
            )
        )
    return rows


def papers_count_rows(audited: Audited, record: AuditRecord) -> list[PapersCountRow]:
    """Return one row for every method of one target that the papers' count was made for."""
    rows = []
    for method, result in record.papers_count.items():
        row = PapersCountRow(
            target=audited.target,
            method=method,
            seed=audited.seed,
            n_members=audited.n_members,
            n_control=audited.n_control,
            **result.model_dump(exclude={"seconds"}),
        )
        rows.append(row)
    return rows


def target_row(target: str, seed: int, record: AuditRecord) -> TargetRow:
    """Return the row that says what one target is."""
    return TargetRow(target=target, seed=seed, **record.target.model_dump())


def n_reconstructions(records: Iterable[AuditRecord]) -> list[int]:
    """Return the different numbers of reconstructions that audits have."""
    counts = set()
    for record in records:
        for outcome in record.methods.values():
            if outcome.n:
                counts.add(outcome.n)
    return sorted(counts)
