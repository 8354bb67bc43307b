"""What a leakage run says in plain words."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from invaudit.records.names import ATTACK_CONTROL_COMMAND
from invaudit.report.leakage.run import LeakageRun
from invaudit.report.printing import p_text, span
from invaudit.report.records import Row

WORDS = {"leak": "leak", "no-evidence": "no evidence of a leak", "inconclusive": "inconclusive"}
NOT_TESTED = "not tested"
MEANINGS = {
    "leak": "Images made from the target alone match images that it was trained on better than chance explains, beyond "
    "what comparable images reach. Whoever has the weights can repeat this.",
    "no-evidence": "These attacks, with these settings, found nothing that the tests could tell from chance, although "
    "they do find the leak of a target that is known to leak. A leak below the scoring limit, or by another attack, "
    "stays possible.",
    "inconclusive": "The tests can say neither that the target leaks nor that they found nothing. The reason says what "
    "stood in the way.",
}
REASONS = {
    "underpowered": "the reconstructions hit too few different images for any result to reach the level",
    "shift": "members and control differ by themselves: a classifier that never saw the target tells them apart",
    "control-invalid": "a negative control fired, where nothing can leak",
    "no-control": f"a control is missing, as a rule the attack control that `{ATTACK_CONTROL_COMMAND}` makes",
    "attack-failed": "the attack does not find the leak of a target that is known to leak, so its silence says nothing",
    "exploratory": "a step knew who is a member",
}
# These concern the pool and not one attack alone: they silence every test that found nothing.
SPOILING = ("control-invalid", "shift")
UNTRIED = (
    "Access by queries alone: every attack here reads the weights.",
    "Attackers who hold more than the weights: other checkpoints, gradients, some of the training images.",
    "Membership attacks that train shadow models of the target.",
    "Other leaks than of images: attributes or shares of groups in the training data.",
    "Other attacks, other settings and more computing time than listed on this page.",
    "The risk of one person: the tests speak of the pool as a whole, and one image may be worse off.",
)
OOD_UNTRIED = "Readiness for images of other kinds (OOD detection)."
NO_LIMIT = (
    "There is no scoring limit: it was not measured, or not even copies of all members are called a leak with "
    "probability 0.95. Finding nothing then says little."
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
    """The verdict on one target, or on a part of its tests.

    ``leak`` if any test says so. Else ``no-evidence`` if any test says that, unless a reason of ``SPOILING`` stands
    against another. Else ``inconclusive``. None if nothing was tested.
    """

    target: str
    tests: list[Row]
    negative: bool = False
    """Whether the target is a negative control."""

    @property
    def verdict(self) -> str | None:
        """``leak``, ``no-evidence``, ``inconclusive`` or None."""
        verdicts = {row["verdict"] for row in self.tests}
        if not verdicts:
            return None
        if "leak" in verdicts:
            return "leak"
        spoilt = self._reasons().keys() & set(SPOILING)
        return "no-evidence" if "no-evidence" in verdicts and not spoilt else "inconclusive"

    @property
    def reasons(self) -> list[str]:
        """Reasons of an inconclusive verdict, else none."""
        return list(self._reasons()) if self.verdict == "inconclusive" else []

    @property
    def words(self) -> str:
        """The verdict in words, with its reasons."""
        words = WORDS.get(self.verdict or "", NOT_TESTED)
        return f"{words} ({', '.join(self.reasons)})" if self.reasons else words

    @property
    def smallest(self) -> Row | None:
        """The test with the smallest adjusted p."""
        known = [row for row in self.tests if row["p_adjusted"] is not None]
        return min(known, key=lambda row: row["p_adjusted"], default=None)

    @property
    def sentence(self) -> str:
        """What the tests of the target say, with their figures."""
        n_tests = len(self.tests)
        if not n_tests:
            return "No test has a result."
        speaking = [row for row in self.tests if row["verdict"] == self.verdict]
        smallest = "" if self.smallest is None else f" (smallest Holm p {p_text(self.smallest['p_adjusted'])})"
        if self.verdict == "leak":
            methods = ", ".join(dict.fromkeys(row["method"] for row in speaking))
            return f"{len(speaking)} of {n_tests} tests say leak{smallest}: {methods}."
        unclear = "; ".join(
            f"{n} of {n_tests} tests inconclusive, because {_because(name)}" for name, n in self._reasons().items()
        )
        if self.verdict == "inconclusive":
            return f"{unclear}{smallest}."
        limit = span((row["scoring_limit"] for row in speaking), "{:.0f}".format)
        text = f"{len(speaking)} of {n_tests} tests find nothing{smallest}{f'; {unclear}' if unclear else ''}."
        return f"{text} {f'The scoring limit is {limit} reconstructed members.' if limit else NO_LIMIT}"

    def _reasons(self) -> Counter[str]:
        unclear = (row for row in self.tests if row["verdict"] not in ("leak", "no-evidence"))
        return Counter(row["verdict_reason"] or "no reason given" for row in unclear)


def _because(reason: str) -> str:
    return REASONS.get(reason, reason)


def tested(rows: Iterable[Row]) -> list[Row]:
    """Return the rows that hold a verdict."""
    return [row for row in rows if row["status"] == "ok" and row["verdict"] is not None]


def findings(run: LeakageRun) -> list[Finding]:
    """Return the verdict on each target, in the order of the table, negative controls last."""
    negative = run.negative_targets
    found = [
        Finding(target, tested(row for row in run.rows if row["target"] == target), negative=target in negative)
        for target in run.names("target")
    ]
    return sorted(found, key=lambda item: item.negative)


def headline_sentence(found: list[Finding]) -> str:
    """Return the verdicts on the targets that are no negative controls, in few words."""
    found = [item for item in found if not item.negative]
    if len(found) == 1:
        because = "; ".join(map(_because, found[0].reasons))
        words = WORDS.get(found[0].verdict or "", NOT_TESTED)
        return f"{found[0].target}: {words}{f', because {because}' if because else ''}."
    targets = {name: [item.target for item in found if item.verdict == name] for name in (*WORDS, None)}
    clauses = [f"{WORDS.get(name or '', NOT_TESTED)}: {', '.join(names)}" for name, names in targets.items() if names]
    return ". ".join(text[0].upper() + text[1:] for text in clauses) + "." if clauses else "This run holds no target."


def fired(run: LeakageRun) -> list[str]:
    """Return what shows that a negative control fired: those called a leak, and verdicts that were withheld for it."""
    negative = [row for row in run.controls if row["kind"] == "negative" and row["verdict"] == "leak"]
    withheld = [row for row in run.rows if row["verdict_reason"] == "control-invalid"]
    return [f"{row['method']}, {row['metric']} on {row['target']} (seed {row['seed']})" for row in negative + withheld]


def attack_sentence(run: LeakageRun) -> str:
    """Return for which methods the attack control was called a leak, and for which it was not."""
    found: dict[str, bool] = {}
    for row in run.controls:
        if row["kind"] == "attack":
            found[row["method"]] = found.get(row["method"], False) or row["verdict"] == "leak"
    if not found:
        return "No attack control was run: whether these attacks find any leak is not known."
    parts = {"found by": True, "missed by": False}
    texts = [(words, ", ".join(name for name, leak in found.items() if leak == kind)) for words, kind in parts.items()]
    listed = "; ".join(f"{words} {names}" for words, names in texts if names)
    return f"The leak of a target that is known to leak (attack control) was {listed}."


def not_tested(run: LeakageRun, *, ood: bool = False) -> list[str]:
    """Return what the run did not test: what did not run, and what no run of this kind covers.

    Args:
        run: The run.
        ood: Whether OOD readiness was measured beside it.
    """
    found: dict[str, None] = {}
    for row in run.rows:
        if row["status"] != "ok":
            name = " ".join(str(row[key]) for key in ("method", "metric") if row[key])
            found[f"{name} on {row['target']}: {row['status']}, {row['reason'] or 'no reason given'}."] = None
    return [*found, *UNTRIED, *([] if ood else [OOD_UNTRIED])]
