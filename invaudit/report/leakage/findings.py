"""What a leakage run says in plain words."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from invaudit.records.columns import distinct
from invaudit.records.leakage import ControlRow, Reason, TestRow, Verdict
from invaudit.records.leakage_run import LeakageRun
from invaudit.records.names import ATTACK_CONTROL_COMMAND, GIVEN
from invaudit.report.printing import p_text, span
from invaudit.stats import OverallVerdict, overall_of

R = TypeVar("R", TestRow, ControlRow)

WORDS: dict[Verdict, str] = {"leak": "leak", "no-evidence": "no evidence of a leak", "inconclusive": "inconclusive"}
NOT_TESTED = "not tested"
MEANINGS: dict[Verdict, str] = {
    "leak": "Images made from the target alone match images that it was trained on better than chance explains, beyond "
    "what comparable images reach. Whoever has the weights can repeat this.",
    "no-evidence": "These attacks, with these settings, found nothing that the tests could tell from chance, although "
    "they do find the leak of a target that is known to leak. A leak below the scoring limit, or by another attack, "
    "stays possible.",
    "inconclusive": "The tests can say neither that the target leaks nor that they found nothing. The reason says what "
    "stood in the way.",
}
REASONS: dict[Reason, str] = {
    "underpowered": "the reconstructions hit too few different images for any result to reach the level",
    "shift": "members and control differ by themselves: a classifier that never saw the target tells them apart",
    "control-invalid": "a negative control fired, where nothing can leak",
    "no-control": f"a control is missing, as a rule the attack control that `{ATTACK_CONTROL_COMMAND}` makes",
    "attack-failed": "the attack does not find the leak of a target that is known to leak, so its silence says nothing",
    "exploratory": "a step knew who is a member",
}
REFERENCE_SCORES = ("lira", "rmia")
"""How the names of membership scores begin that take reference models."""
SHADOWS = "Membership attacks that train shadow models of the target."
QUERIES = "Access by queries alone: every attack here reads the weights."
WITHOUT_WEIGHTS = "Attacks that read the weights, and reconstruction: only the model's answers were at hand."
UNTRIED = (
    "Attackers who hold more than the weights: other checkpoints, gradients, some of the training images.",
    SHADOWS,
    "Other leaks than of images: attributes or shares of groups in the training data.",
    "Other attacks, other settings and more computing time than listed on this page.",
    "The risk of one person: the tests speak of the pool as a whole, and one image may be worse off.",
)
NOT_READY = "Readiness for images of other kinds (OOD detection)."
NO_LIMIT = (
    "There is no scoring limit: it was not measured, or not even copies of all members are sure to be called a leak "
    "with probability 0.95. Finding nothing then says little."
)
FIRED = (
    "A negative control fired: the tests found a leak where nothing can leak. Do not trust the verdicts of this run."
)
LIMITS = (
    "Failing to find a leak does not show that the training images are safe, nor that the model is anonymous. "
    "A verdict holds for this target, these attacks and settings, this pool, and these measures of similarity."
)


@dataclass(frozen=True)
class Finding:
    """What the tests of one target, or a part of them, say together, in words.

    Attributes:
        target: Name of the target.
        tests: Its tests that have a verdict.
        negative: Whether the target is a negative control.
    """

    target: str
    tests: list[TestRow]
    negative: bool = False

    @cached_property
    def overall(self) -> OverallVerdict | None:
        """The verdict over the tests; None if nothing was tested."""
        return overall_of(self.tests)

    @property
    def verdict(self) -> Verdict | None:
        """``leak``, ``no-evidence``, ``inconclusive`` or None."""
        return None if self.overall is None else self.overall.verdict

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Reasons of an inconclusive verdict, else none."""
        return () if self.overall is None else self.overall.reasons

    @property
    def bare_words(self) -> str:
        """The verdict in words."""
        return NOT_TESTED if self.verdict is None else WORDS[self.verdict]

    @property
    def words(self) -> str:
        """The verdict in words, with its reasons."""
        return f"{self.bare_words} ({', '.join(self.reasons)})" if self.reasons else self.bare_words

    @property
    def sentence(self) -> str:
        """What the tests of the target say, with their figures."""
        n_tests = len(self.tests)
        if not n_tests:
            return "No test has a result."
        smallest = smallest_p(self.tests)
        lowest = "" if smallest is None else f" (smallest Holm p {p_text(smallest[0])})"
        agreeing = [row for row in self.tests if row.verdict == self.verdict]
        if self.verdict == "leak":
            methods = distinct(row.method for row in agreeing)
            return f"{len(agreeing)} of {n_tests} tests say leak{lowest}: {', '.join(methods)}."
        unclear = "; ".join(self._unclear())
        if self.verdict == "inconclusive":
            return f"{unclear}{lowest}."
        limit = span([row.scoring_limit for row in agreeing], "{:.0f}".format)
        limit_sentence = f"The scoring limit is {limit} reconstructed members." if limit else NO_LIMIT
        also = f"; {unclear}" if unclear else ""
        return f"{len(agreeing)} of {n_tests} tests find nothing{lowest}{also}. {limit_sentence}"

    def _unclear(self) -> list[str]:
        """Return how many tests are inconclusive, for each reason."""
        counts: Counter[Reason | None] = Counter()
        for row in self.tests:
            if row.verdict == "inconclusive":
                counts[row.verdict_reason] += 1
        clauses = []
        for reason, count in counts.items():
            because = "no reason given" if reason is None else REASONS[reason]
            clauses.append(f"{count} of {len(self.tests)} tests inconclusive, because {because}")
        return clauses


def smallest_p(tests: Iterable[TestRow]) -> tuple[float, TestRow] | None:
    """Return the smallest adjusted p and its test; None if no test has any."""
    smallest: tuple[float, TestRow] | None = None
    for row in tests:
        if row.p_adjusted is not None and (smallest is None or row.p_adjusted < smallest[0]):
            smallest = row.p_adjusted, row
    return smallest


def tested(rows: Iterable[TestRow]) -> list[TestRow]:
    """Return the rows that hold a verdict."""
    return [row for row in rows if row.status == "ok" and row.verdict is not None]


def gaps_of(rows: Iterable[R]) -> list[R]:
    """Return the rows without a result."""
    return [row for row in rows if row.status != "ok"]


def findings(run: LeakageRun) -> list[Finding]:
    """Return the verdict on each target, in the order of the table, negative controls last."""
    tests: dict[str, list[TestRow]] = {}
    for row in run.tests:
        tests.setdefault(row.target, []).append(row)
    audited = []
    for target, rows in tests.items():
        audited.append(Finding(target, tested(rows), negative=target in run.negative_targets))
    return sorted(audited, key=lambda finding: finding.negative)


def without_negatives(audited: Iterable[Finding]) -> list[Finding]:
    """Return the verdicts on the targets that are no negative controls."""
    return [finding for finding in audited if not finding.negative]


def headline_sentence(audited: list[Finding]) -> str:
    """Return the verdicts on the targets that are no negative controls, in few words."""
    audited = without_negatives(audited)
    if len(audited) == 1:
        (finding,) = audited
        sentence = f"{finding.target}: {finding.bare_words}"
        if finding.reasons:
            sentence += f", because {'; '.join(map(REASONS.__getitem__, finding.reasons))}"
        return f"{sentence}."
    targets: dict[str, list[str]] = {}
    for finding in audited:
        targets.setdefault(finding.bare_words, []).append(finding.target)
    clauses = []
    for words in (*WORDS.values(), NOT_TESTED):
        if words in targets:
            clauses.append(f"{words[0].upper()}{words[1:]}: {', '.join(targets[words])}")
    return ". ".join(clauses) + "." if clauses else "This run holds no target."


def fired(run: LeakageRun) -> list[str]:
    """Return what shows that a negative control fired: those called a leak, and verdicts that were withheld for it."""
    concerned = []
    for row in run.controls:
        if row.kind == "negative" and row.verdict == "leak":
            concerned.append(_test_name(row))
    for row in run.tests:
        if row.verdict_reason == "control-invalid":
            concerned.append(_test_name(row))
    return concerned


def _test_name(row: ControlRow | TestRow) -> str:
    return f"{row.method}, {row.metric} on {row.target} (seed {row.seed})"


def attack_findings(run: LeakageRun) -> dict[str, bool]:
    """Return for each method with an attack control whether any of its tests called that a leak."""
    finds_leak: dict[str, bool] = {}
    for row in run.controls:
        if row.kind == "attack" and row.method is not None:
            finds_leak[row.method] = finds_leak.get(row.method, False) or row.verdict == "leak"
    return finds_leak


def found_and_missed(finds_leak: Mapping[str, bool]) -> str:
    """Return by which names a known leak was found, and by which it was missed."""
    clauses = []
    for words, wanted in (("found", True), ("missed", False)):
        names = [name for name, is_successful in finds_leak.items() if is_successful == wanted]
        if names:
            clauses.append(f"{words} by {_by(names)}")
    return "; ".join(clauses)


def attack_sentence(run: LeakageRun) -> str:
    """Return for which methods the attack control was called a leak, and for which it was not."""
    finds_leak = attack_findings(run)
    if not finds_leak:
        return "No attack control was run: whether these attacks find any leak is not known."
    control = run.attack_control
    network = f" ({control.network})" if control is not None and control.network else " (attack control)"
    return f"The leak of a target that is known to leak{network} was {found_and_missed(finds_leak)}."


def _by(methods: list[str]) -> str:
    """Return methods in words; reconstructions that somebody made are of a method that is not known."""
    return ", ".join("the attack that was given" if method == GIVEN else method for method in methods)


def has_references(scores: Iterable[str]) -> bool:
    """Return whether any of these membership scores takes reference models."""
    return any(score.startswith(REFERENCE_SCORES) for score in scores)


def not_tested(run: LeakageRun) -> list[str]:
    """Return what the run did not test: what did not run, and what no run of this kind covers."""
    gaps: dict[str, None] = {}
    for row in gaps_of(run.tests):
        name = " ".join(distinct((row.method, row.metric)))
        gaps[f"{name} on {row.target}: {row.status}, {row.reason or 'no reason given'}."] = None
    access = WITHOUT_WEIGHTS if run.by_answers else QUERIES
    tried = {SHADOWS} if has_references(row.score for row in run.membership) else set()
    untried = [text for text in UNTRIED if text not in tried]
    return [*gaps, access, *untried, *(() if run.readiness else (NOT_READY,))]
