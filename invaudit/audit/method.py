"""What the reconstructions of one method say of a pool: the test and the membership score by every metric."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from invaudit.audit.attempts import Attempt, attempt, restated
from invaudit.audit.metrics import MetricSet
from invaudit.leakage import (
    Pool,
    Reconstructions,
    best_similarity,
    papers_count,
    score_reconstructions,
)
from invaudit.leakage.matches import Embeddings, PoolMatches
from invaudit.records import (
    MembershipResult,
    MethodOutcome,
    PapersCount,
    TestResult,
)
from invaudit.runtime.seeds import child_seed
from invaudit.similarity import Metric
from invaudit.stats import Design, Pairs, ShortListError, list_length, membership

Scores = NDArray[np.float64]
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class AuditSetup:
    """What all measurements of one audit share.

    Attributes:
        pool: Members and controls.
        metrics: From ``make_metrics``.
        seed: Seed of the audit.
        stage: Name of the audit; with the seed, the source of all draws.
        draws: Relabellings of each test.
        depth: How many times as long as the test needs it lists of neighbours are.
    """

    pool: Pool
    metrics: MetricSet
    seed: int
    stage: str
    draws: int
    depth: int = 1

    def rng(self, measurement: str) -> np.random.Generator:
        """Return the source of the draws of one measurement."""
        return measurement_rng(self.seed, self.stage, measurement)


def measurement_rng(seed: int, stage: str, measurement: str) -> np.random.Generator:
    """Return the source of the draws of one measurement of an audit, see `AuditSetup`."""
    return np.random.default_rng(child_seed(seed, f"{stage}/{measurement}"))


class MembershipAudit(NamedTuple):
    """How well a score tells members from controls, with the score itself where there is one."""

    result: MembershipResult
    scores: Scores | None = None


@dataclass(frozen=True, eq=False)
class MethodAudit:
    """What the reconstructions of one method say.

    Attributes:
        outcome: How the method ended.
        tests: Result of the test by each metric.
        memberships: Membership by each metric, as the similarity to the nearest reconstruction.
        papers_count: What the KKT papers would count; None where there are no reconstructions.
        arrays: ``labels`` and ``restart`` of the reconstructions, ``METRIC-index`` and ``METRIC-value`` of their
            nearest pool images; empty where there are no reconstructions.
        images: (R, C, H, W) in [0, 1], the reconstructions, where there are some.
    """

    outcome: MethodOutcome
    tests: dict[str, TestResult]
    memberships: dict[str, MembershipAudit]
    papers_count: PapersCount | None = None
    arrays: Arrays = field(default_factory=dict)
    images: Tensor | None = None


def audit_membership(name: str, score: Callable[[], Tensor], setup: AuditSetup) -> MembershipAudit:
    """Measure how well a score of the pool images, (N,) higher = more likely a member, tells members from controls."""

    def measure() -> tuple[Scores, dict[str, Any]]:
        scores = score().double().cpu().numpy()
        rng = setup.rng(f"membership/{name}")
        return scores, membership_figures(scores, setup.pool.design, rng, draws=setup.draws)

    measured = attempt(name, measure)
    if measured.value is None:
        return MembershipAudit(measured.record(MembershipResult))
    scores, figures = measured.value
    return MembershipAudit(measured.record(MembershipResult, **figures), scores)


def membership_figures(scores: Scores, design: Design, rng: np.random.Generator, *, draws: int) -> dict[str, Any]:
    """Return the fields of the record of a membership score: its figures, and as the reason what is missing."""
    figures = asdict(membership(scores, design, rng, draws=draws))
    gaps = []
    if figures["tpr_at_fpr_1pct"] is None:
        gaps.append("no TPR at 1 % FPR: under 1,000 controls")
    if figures["epsilon_lower"] is None:
        gaps.append("no epsilon: it needs the pairs design")
    n_members = int(design.member.sum())
    counts = {"n_members": n_members, "n_control": len(design) - n_members}
    attainable = max(design.attainable_p(np.flatnonzero(design.member)), 1 / (1 + draws))
    return figures | counts | {"attainable_p": attainable, "reason": "; ".join(gaps)}


def audit_method(name: str, make: Callable[[], Reconstructions], setup: AuditSetup) -> MethodAudit:
    """Reconstruct by one method, test what it gave by every metric, and measure membership by it.

    Args:
        name: Name of the method.
        make: Makes the reconstructions; what it raises is noted as the outcome.
        setup: What the audit shares.
    """
    attempted = attempt(name, make)
    outcome = _outcome(attempted)
    if attempted.value is None or not len(attempted.value):
        no_test, no_membership = restated(outcome, TestResult), MembershipAudit(restated(outcome, MembershipResult))
        metrics = setup.metrics.names
        return MethodAudit(outcome, dict.fromkeys(metrics, no_test), dict.fromkeys(metrics, no_membership))
    return audit_reconstructions(name, attempted.value, outcome, setup)


def _outcome(attempted: Attempt[Reconstructions]) -> MethodOutcome:
    if attempted.value is None:
        return attempted.record(MethodOutcome, n=0)
    reconstructions = attempted.value
    outcome = attempted.record(
        MethodOutcome, n=len(reconstructions), outcome=reconstructions.outcome, message=reconstructions.message
    )
    if len(reconstructions):
        return outcome
    reason = f"{reconstructions.outcome}: {reconstructions.message}"
    return outcome.model_copy(update={"status": "failed", "reason": reason})


def audit_reconstructions(
    name: str,
    reconstructions: Reconstructions,
    outcome: MethodOutcome,
    setup: AuditSetup,
    embeddings: Embeddings | None = None,
) -> MethodAudit:
    """Test reconstructions by every metric, and measure membership by them.

    Args:
        name: Name of the method that made them.
        reconstructions: At least one.
        outcome: How that method ended.
        setup: What the audit shares.
        embeddings: The reconstructions for metrics, where they are used elsewhere too.
    """
    embeddings = embeddings or Embeddings(reconstructions.images)
    counted = _papers_count(name, reconstructions, setup.pool)
    arrays: Arrays = {"labels": reconstructions.labels.numpy(), "restart": reconstructions.restart.numpy()}
    tests, memberships = {}, {}
    for metric in setup.metrics.names:
        if metric in setup.metrics.unavailable:
            reason = setup.metrics.unavailable[metric]
            tests[metric] = restated(reason, TestResult)
            memberships[metric] = MembershipAudit(restated(reason, MembershipResult))
            continue
        compared = _compare(f"{name}:{metric}", reconstructions, embeddings, setup.metrics.ready[metric], setup)
        tests[metric] = _with_method(compared.test, outcome)
        memberships[metric] = compared.membership
        for kind, array in compared.arrays.items():
            arrays[f"{metric}-{kind}"] = array
    return MethodAudit(outcome, tests, memberships, counted, arrays, reconstructions.images)


def _papers_count(name: str, reconstructions: Reconstructions, pool: Pool) -> PapersCount:
    def count() -> dict[str, int]:
        counted = papers_count(reconstructions.images, pool.floats).numpy()
        member = pool.design.member
        return {"members": int(counted[member].sum()), "controls": int(counted[~member].sum())}

    counted = attempt(f"papers' count of {name}", count)
    return counted.record(PapersCount, **(counted.value or {}))


class Comparison(NamedTuple):
    """What reconstructions have in common with the pool by one metric; ``arrays`` of the nearest images, if any."""

    test: TestResult
    membership: MembershipAudit
    arrays: Arrays


def _compare(
    key: str, reconstructions: Reconstructions, embeddings: Embeddings, metric: Metric, setup: AuditSetup
) -> Comparison:
    """Compare reconstructions with the pool by one metric: the test, and membership by similarity."""
    tested = attempt(key, partial(_test, key, embeddings, metric, setup))
    figures, arrays = tested.value or ({}, {})
    similarity = partial(_membership_by_similarity, reconstructions, embeddings, metric, setup.pool)
    return Comparison(tested.record(TestResult, **figures), audit_membership(key, similarity, setup), arrays)


def _test(key: str, embeddings: Embeddings, metric: Metric, setup: AuditSetup) -> tuple[dict[str, float | int], Arrays]:
    """Return the figures of the relabelling test, and the nearest pool images that it was made from."""
    images, pool = embeddings.by(metric), setup.pool
    length = list_length(pool.design.member, len(embeddings.images), setup.draws, together=_images_together(pool))
    for depth in (length * setup.depth, len(pool)):
        matches = score_reconstructions(images, pool.embeddings.by(metric), metric, length=depth)
        with suppress(ShortListError):
            figures = test_figures(matches, pool.design, setup.rng(f"verdict/{key}"), draws=setup.draws)
            return figures, {"index": matches.index, "value": matches.value}
    raise AssertionError("lists of the whole pool never end too early")


def test_figures(
    matches: PoolMatches, design: Design, rng: np.random.Generator, *, draws: int
) -> dict[str, float | int]:
    """Return the figures of the relabelling test of the nearest pool images of reconstructions."""
    test = matches.test(design, rng, draws=draws)
    return {
        "p_value": test.p_value,
        "attainable_p": test.attainable_p,
        "distinct_hits": test.distinct_hits,
        "similarity_member": matches.sign * float(test.similarity_member.mean()),
        "similarity_control": matches.sign * float(test.similarity_control.mean()),
    }


def _membership_by_similarity(
    reconstructions: Reconstructions, embeddings: Embeddings, metric: Metric, pool: Pool
) -> Tensor:
    labels, restart = reconstructions.labels, reconstructions.restart
    return best_similarity(embeddings.by(metric), labels, restart, pool.embeddings.by(metric), pool.labels, metric)


def _images_together(pool: Pool) -> int:
    """Return the largest number of images of one group; images of a pair never share a label, so 1 is enough."""
    if isinstance(pool.design, Pairs) or pool.design.group is None:
        return 1
    _, sizes = np.unique(pool.design.group, return_counts=True)
    return int(sizes.max())


def _with_method(test: TestResult, outcome: MethodOutcome) -> TestResult:
    """Return a test with the time of its reconstructions, and a word of warning where their search collapsed."""
    changes: dict[str, float | str] = {"seconds": (test.seconds or 0.0) + (outcome.seconds or 0.0)}
    if test.status == "ok" and outcome.outcome == "collapsed":
        changes["reason"] = f"collapsed: {outcome.message}"
    return test.model_copy(update=changes)
