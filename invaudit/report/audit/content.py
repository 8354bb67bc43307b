"""What every part of the page of an audit may speak of: the folder, and the two verdicts that stand in it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from invaudit.records.leakage import Verdict
from invaudit.records.leakage_run import LeakageRun
from invaudit.records.model_audit import MembershipTestRow, Question
from invaudit.records.model_audit_run import ModelAuditRun, read_model_audit
from invaudit.report.leakage.findings import Finding, findings
from invaudit.stats import OverallVerdict, Repeats, overall_of, repeats_of
from invaudit.stats.verdicts import ALPHA

QUESTIONS: tuple[Question, ...] = ("membership", "reconstruction")


@dataclass(frozen=True)
class Content:
    """The audit of a model, and what its tests say together.

    Attributes:
        audit: What the folder holds.
    """

    audit: ModelAuditRun

    @classmethod
    def of(cls, folder: Path) -> "Content":
        """Return it from the folder of an audit."""
        return cls(read_model_audit(folder))

    @property
    def run(self) -> LeakageRun:
        """What the audit has in common with every leakage run."""
        return self.audit.run

    @property
    def alpha(self) -> float:
        """Level of each family of tests."""
        return ALPHA if self.run.alpha is None else self.run.alpha

    @cached_property
    def reconstruction(self) -> Finding:
        """What the tests of reconstructions say together."""
        own = [finding for finding in findings(self.run) if finding.target == self.audit.target]
        return own[0] if own else Finding(self.audit.target, [])

    @cached_property
    def membership_tests(self) -> list[MembershipTestRow]:
        """The tests of membership scores that have a verdict, smallest p-value and then largest AUROC first."""
        tested = [row for row in self.audit.membership_tests if row.verdict is not None]
        return sorted(tested, key=lambda row: (1.0 if row.p_adjusted is None else row.p_adjusted, -(row.auroc or 0)))

    @cached_property
    def verdicts(self) -> dict[Question, OverallVerdict | None]:
        """The two verdicts, which are never merged; None where nothing was tested."""
        return {"membership": overall_of(self.membership_tests), "reconstruction": self.reconstruction.overall}

    @cached_property
    def repeats(self) -> dict[Question, Repeats]:
        """What the repeats of each question say."""
        rows = self.audit.repeats
        return {question: repeats_of(rows, question, self.alpha) for question in QUESTIONS}

    def verdict(self, question: Question) -> Verdict | None:
        """Return the verdict on a question in one word; None where nothing was tested."""
        overall = self.verdicts[question]
        return None if overall is None else overall.verdict

    @property
    def leaks(self) -> bool:
        """Whether either verdict is ``leak``."""
        return "leak" in (self.verdict("membership"), self.verdict("reconstruction"))
