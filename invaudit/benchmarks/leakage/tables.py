"""Tables of a leakage run, made from the records of its jobs alone."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

from invaudit.audit.controls import attack_rows, attack_verdicts, called_methods, negative_p_values, negative_row
from invaudit.audit.rows import Audited, TestKey, judge_rows, membership_rows, papers_count_rows, target_row
from invaudit.audit.store import write_tables
from invaudit.benchmarks.leakage.jobs import Job, attack_control_job, target_jobs
from invaudit.benchmarks.leakage.settings import LeakageBenchmark
from invaudit.records import (
    AuditRecord,
    ControlRow,
    LeakageSummaryRow,
    MembershipRow,
    MetricRow,
    PapersCountRow,
    PoolRecord,
    TargetRow,
    TestRow,
    write_rows,
)
from invaudit.records.folder import read_record
from invaudit.records.names import ATTACK_CONTROL, SUMMARY


class StoredRun(NamedTuple):
    """The records of a run: of its targets by job, and of its pools by name."""

    settings: LeakageBenchmark
    targets: dict[Job, AuditRecord]
    pools: dict[str, PoolRecord]

    @classmethod
    def read(cls, folder: Path, settings: LeakageBenchmark) -> "StoredRun":
        """Read the records of a finished run."""
        targets, pools = {}, {}
        for job in target_jobs(settings):
            targets[job] = read_record(folder, job.name, AuditRecord)
            if job.target != ATTACK_CONTROL:
                pools[job.pool_name] = read_record(folder, job.pool_name, PoolRecord)
        return cls(settings, targets, pools)

    @property
    def audited(self) -> dict[Job, AuditRecord]:
        """Records of all targets but the attack control."""
        return {job: record for job, record in self.targets.items() if job.target != ATTACK_CONTROL}

    @property
    def attack(self) -> AuditRecord:
        """The record of the attack control."""
        return self.targets[attack_control_job(self.settings)]


class LeakageTables(NamedTuple):
    """The rows of every table of a run."""

    table: list[TestRow]
    membership: list[MembershipRow]
    summary: list[LeakageSummaryRow]
    targets: list[TargetRow]
    controls: list[ControlRow]
    papers_count: list[PapersCountRow]
    metrics: list[MetricRow]

    def write(self, folder: Path) -> None:
        """Write them as CSV files."""
        write_tables(folder, self.table, self.membership, self.papers_count, self.metrics)
        write_rows(folder / SUMMARY, LeakageSummaryRow, self.summary)
        write_rows(folder / "targets.csv", TargetRow, self.targets)
        write_rows(folder / "controls.csv", ControlRow, self.controls)


def make_tables(stored: StoredRun) -> LeakageTables:
    """Return the rows of every table of a run."""
    settings = stored.settings
    methods, metrics = list(settings.methods), list(settings.metrics)
    verdicts = attack_verdicts(stored.attack, methods, metrics, design="pairs", alpha=settings.alpha)
    called = called_methods(verdicts, methods)
    negative_records = []
    for job, record in stored.audited.items():
        if settings.is_negative(job.target):
            negative_records.append(record)
    negatives = negative_p_values(negative_records)
    tests, membership, papers_count = [], [], []
    for job, record in stored.audited.items():
        audited = Audited.of(job.target, job.seed, record.target)
        tests += _target_rows(stored, job, audited, called, negatives)
        membership += membership_rows(audited, record)
        papers_count += papers_count_rows(audited, record)
    controls = attack_rows(ATTACK_CONTROL, settings.seeds[0], stored.attack, verdicts)
    for row in tests:
        if settings.is_negative(row.target):
            controls.append(negative_row(row))
    return LeakageTables(
        table=tests,
        membership=membership,
        summary=summary_rows(tests, membership, settings.alpha),
        targets=_describing_rows(stored),
        controls=controls,
        papers_count=papers_count,
        metrics=_metric_rows(stored),
    )


def _target_rows(
    stored: StoredRun, job: Job, audited: Audited, called: dict[str, bool], negatives: dict[TestKey, float]
) -> list[TestRow]:
    """Return the tests of one target; a negative control is not judged by itself."""
    settings = stored.settings
    return judge_rows(
        audited,
        stored.targets[job],
        stored.pools[job.pool_name],
        list(settings.methods),
        list(settings.metrics),
        alpha=settings.alpha,
        negatives={} if settings.is_negative(job.target) else negatives,
        called=called,
    )


def _describing_rows(stored: StoredRun) -> list[TargetRow]:
    rows = []
    for job, record in stored.targets.items():
        rows.append(target_row(job.target, job.seed, record))
    return rows


def _metric_rows(stored: StoredRun) -> list[MetricRow]:
    """Return what each metric is that could be computed for any target, in the order of the settings."""
    known: dict[str, MetricRow] = {}
    for record in stored.targets.values():
        known = record.metrics | known
    return [known[name] for name in stored.settings.metrics if name in known]


def summary_rows(
    tests: Sequence[TestRow], membership: Sequence[MembershipRow], alpha: float
) -> list[LeakageSummaryRow]:
    """Return the means over seeds by target and score, and the number of seeds with each outcome of the test.

    ``low_p`` counts the p-values up to alpha before they were adjusted for the family.
    """
    groups: dict[tuple[str, str], list[MembershipRow]] = {}
    for row in membership:
        groups.setdefault((row.target, row.score), []).append(row)
    return [_over_seeds(tests, rows, alpha) for rows in groups.values()]


def _over_seeds(tests: Sequence[TestRow], rows: list[MembershipRow], alpha: float) -> LeakageSummaryRow:
    """Return the summary of one target and score."""
    first = rows[0]
    measured = [row for row in rows if row.status == "ok"]
    if not measured:
        return LeakageSummaryRow(
            target=first.target,
            score=first.score,
            design=first.design,
            seeds=0,
            status=first.status,
            reason=first.reason,
        )
    aurocs = [row.auroc for row in measured if row.auroc is not None]
    n_failed = len(rows) - len(measured)
    summary = LeakageSummaryRow(
        target=first.target,
        score=first.score,
        design=first.design,
        seeds=len(measured),
        auroc=mean(aurocs),
        auroc_sd=stdev(aurocs) if len(aurocs) > 1 else None,
        status="ok",
        reason=f"{n_failed} seed(s) failed" if n_failed else "",
    )
    tested = _tests_behind(first, tests)
    return _with_tests(summary, tested, alpha) if tested else summary


def _tests_behind(membership: MembershipRow, tests: Sequence[TestRow]) -> list[TestRow]:
    """Return the tests of the method and metric that a membership score is made of, those that gave a p-value."""
    method, _, metric = membership.score.partition(":")
    tested = []
    for row in tests:
        same_test = (row.target, row.method, row.metric) == (membership.target, method, metric)
        if same_test and row.p_value is not None:
            tested.append(row)
    return tested


def _with_tests(summary: LeakageSummaryRow, tests: list[TestRow], alpha: float) -> LeakageSummaryRow:
    """Return a summary with what the tests of its method and metric say."""
    n_low = 0
    for row in tests:
        if row.p_value is not None and row.p_value <= alpha:
            n_low += 1
    verdicts = Counter(row.verdict for row in tests)
    return summary.model_copy(
        update={
            "similarity_member": _mean([row.similarity_member for row in tests]),
            "similarity_control": _mean([row.similarity_control for row in tests]),
            "distinct_hits": _mean([row.distinct_hits for row in tests]),
            "low_p": n_low,
            "leak": verdicts["leak"],
            "no_evidence": verdicts["no-evidence"],
            "inconclusive": verdicts["inconclusive"],
        }
    )


def _mean(values: Iterable[float | None]) -> float:
    """Return the mean of values that are there; that of counts is a float too."""
    return float(mean(value for value in values if value is not None))
