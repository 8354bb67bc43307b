"""What the arrays of an audit give once more: the record of a target, its tests and its membership scores."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from invaudit.audit.method import measurement_rng, membership_figures, test_figures
from invaudit.audit.settings import AuditSettings
from invaudit.leakage.matches import PoolMatches
from invaudit.records import AuditRecord, MembershipResult, PoolRecord, TestResult
from invaudit.records.folder import read_record
from invaudit.runtime.errors import RunFolderError
from invaudit.runtime.files import StoredArrays, read_arrays, write_json
from invaudit.runtime.paths import is_file
from invaudit.similarity.protocol import sign_of
from invaudit.stats import Design, Observational, Pairs
from invaudit.stats.blind import is_shift
from invaudit.verify.findings import Findings

Arrays = dict[str, np.ndarray]
ENDED = {"status", "reason", "seconds"}
"""Fields of a result that say how it ended; all others are figures."""
UNCHECKED = (
    "accuracies, descriptions and hashes of networks, how searches ended, times: the run has measured them once",
    "the blind baseline, scoring limits and the count of the papers: these need the images; verdicts, tables and the "
    "page are checked against what the records say of them",
)


class StoredAudit:
    """The arrays of one audited target, ``scores/seed-SEED/TARGET``.

    Args:
        folder: The run folder.
        seed: Seed of the audit.
        target: Name of the target.
        pool: Name of the file of its pool.
    """

    def __init__(self, folder: Path, seed: int, target: str, pool: str = "pool") -> None:
        self.folder = folder
        self.seed = seed
        self.place = Path("scores") / f"seed-{seed}" / target
        self.pool_file = self.file(pool)
        self.pool = self.arrays(pool)

    def file(self, name: str) -> str:
        """Return the file of some arrays, from the run folder on."""
        return str(self.place / f"{name}.npz")

    def arrays(self, name: str) -> StoredArrays:
        """Return the arrays of a file, none where it is missing."""
        path = self.folder / self.file(name)
        return read_arrays(path) if is_file(path, RunFolderError) else StoredArrays(path, {})

    def design(self) -> Design:
        """Return how membership came about.

        Raises:
            InputError: The arrays describe no design.
        """
        if "pair" in self.pool:
            return Pairs(self.pool["member"], self.pool["pair"])
        return Observational(self.pool["member"], self.pool["stratum"], self.pool.get("unit"))


def rebuild_audit(
    findings: Findings,
    copy: Path,
    settings: AuditSettings,
    *,
    seed: int,
    target: str,
    stage: str,
    known: Mapping[str, MembershipResult] | None = None,
) -> None:
    """Write the record of a target with the figures that its arrays give.

    Args:
        findings: What is found.
        copy: The folder that is made once more.
        settings: Settings of the run.
        seed: Seed of the audit.
        target: Name of the target.
        stage: Name of the audit, with the seed the source of its draws; see `AuditSetup`.
        known: Results of membership scores that come from elsewhere.
    """
    name = f"seed-{seed}-{target}"
    record = read_record(copy, name, AuditRecord)
    stored = StoredAudit(copy, seed, target)
    if stored.pool:
        record = _Recomputed(findings, stored, settings, record, stage, known or {}).record()
    else:
        record = record.model_copy(update=_without_figures(record))
    write_json(copy / "records" / f"{name}.json", record.model_dump(mode="json"))


def rebuild_pool(copy: Path, name: str) -> None:
    """Write the record of a pool with the finding that the figures of its blind baseline mean."""
    record = read_record(copy, name, PoolRecord)
    blind = record.blind
    if blind.finding in (None, "too-small") or blind.auroc is None or blind.low is None or blind.p_value is None:
        return
    finding = "shift" if is_shift(blind.auroc, blind.low, blind.p_value) else "no-shift"
    made = record.model_copy(update={"blind": blind.model_copy(update={"finding": finding})})
    write_json(copy / "records" / f"{name}.json", made.model_dump(mode="json"))


def _without_figures(record: AuditRecord) -> dict[str, Any]:
    """Return the results of an audit of which no array is left: without any figure."""
    tests = {}
    for method, by_metric in record.tests.items():
        tests[method] = {metric: with_figures(test, {}) for metric, test in by_metric.items()}
    return {"tests": tests, "membership": {score: with_figures(one, {}) for score, one in record.membership.items()}}


def with_figures(result: Any, figures: dict[str, Any]) -> Any:
    """Return a result with these figures and no others."""
    empty = {name: None for name in type(result).model_fields if name not in ENDED}
    return result.model_copy(update=empty | figures)


class _Recomputed:
    """The record of one audit, computed from its arrays."""

    def __init__(
        self,
        findings: Findings,
        stored: StoredAudit,
        settings: AuditSettings,
        record: AuditRecord,
        stage: str,
        known: Mapping[str, MembershipResult],
    ) -> None:
        self.findings, self.stored, self.settings, self.known = findings, stored, settings, known
        self.old, self.stage, self.design = record, stage, stored.design()

    def record(self) -> AuditRecord:
        """Return the record."""
        member = self.design.member
        sizes = {
            "design": self.design.name,
            "n_members": int(member.sum()),
            "n_control": int((~member).sum()),
        }
        methods, tests = dict(self.old.methods), {}
        for method, by_metric in self.old.tests.items():
            arrays = self.stored.arrays(method)
            n = len(arrays.get("labels", ()))
            methods[method] = methods[method].model_copy(update={"n": n if arrays else methods[method].n})
            tests[method] = {metric: self._test(method, metric, test, arrays) for metric, test in by_metric.items()}
        scores = self.stored.arrays("membership")
        membership = {}
        for name, result in self.old.membership.items():
            membership[name] = self.known.get(name) or self._membership(name, result, scores.get(name))
        target = self.old.target.model_copy(update=sizes)
        return self.old.model_copy(
            update={"target": target, "methods": methods, "tests": tests, "membership": membership}
        )

    def _test(self, method: str, metric: str, old: TestResult, arrays: Arrays) -> TestResult:
        index, value = arrays.get(f"{metric}-index"), arrays.get(f"{metric}-value")
        if index is None or value is None or metric not in self.old.metrics:
            return with_figures(old, {})
        matches = PoolMatches(index, value, sign_of(self.old.metrics[metric].better))
        rng = self._rng(f"verdict/{method}:{metric}")
        with self.findings.noted(f"{self.stored.file(method)}, {metric}"):
            figures = test_figures(matches, self.design, rng, draws=self.settings.draws)
            return with_figures(old, {"status": "ok", **figures})
        return old

    def _membership(self, name: str, old: MembershipResult, scores: np.ndarray | None) -> MembershipResult:
        if scores is None:
            return with_figures(old, {})
        with self.findings.noted(f"{self.stored.file('membership')}, {name}"):
            figures = membership_figures(
                scores, self.design, self._rng(f"membership/{name}"), draws=self.settings.draws
            )
            return with_figures(old, {"status": "ok", **figures})
        return old

    def _rng(self, measurement: str) -> np.random.Generator:
        return measurement_rng(self.stored.seed, self.stage, measurement)
