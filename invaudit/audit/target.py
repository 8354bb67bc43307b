"""The audit of one target on one pool: every method, metric and membership score, each with how it ended."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from invaudit.audit.attempts import Attempt, attempt, restated
from invaudit.audit.metrics import MetricSet, make_metrics
from invaudit.audit.settings import ReleasedTarget, TargetAuditSettings
from invaudit.data import ImageSet, seeded_rng
from invaudit.leakage import (
    SIGNALS,
    Pool,
    Reconstructions,
    attribute,
    best_similarity,
    papers_count,
    reconstruct,
    score_reconstructions,
)
from invaudit.leakage.matches import Embeddings
from invaudit.models import InputSpec, Target, accuracy, collect, load_model, resolve_device
from invaudit.models.training import chance_limit
from invaudit.records import (
    AuditRecord,
    Ended,
    MembershipResult,
    MethodOutcome,
    PapersCount,
    TargetDescription,
    TestResult,
)
from invaudit.runtime.errors import ModelError, SettingError
from invaudit.runtime.seeds import child_seed
from invaudit.similarity import Metric
from invaudit.stats import Pairs, membership

CHANCE_SPREADS = 5
"""A released target has to beat chance on its members by this many standard deviations."""

GIVEN = "given"
"""The method that tables name for reconstructions that somebody made."""

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
    """

    pool: Pool
    metrics: MetricSet
    seed: int
    stage: str
    draws: int

    def rng(self, measurement: str) -> np.random.Generator:
        """Return the source of the draws of one measurement."""
        return np.random.default_rng(child_seed(self.seed, f"{self.stage}/{measurement}"))


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


@dataclass(frozen=True, eq=False)
class TargetAudit:
    """What the audit of one target on one pool found.

    Attributes:
        record: Everything but arrays, as plain values.
        scores: Membership scores of the pool, (N,) higher = more likely a member, by name.
        arrays: Arrays of each method, see `MethodAudit`.
        images: Reconstructions of each method, (R, C, H, W) in [0, 1].
    """

    record: AuditRecord
    scores: dict[str, Scores]
    arrays: dict[str, Arrays]
    images: dict[str, Tensor]


def audit_target(
    target: Target,
    pool: Pool,
    settings: TargetAuditSettings,
    *,
    name: str,
    seed: int = 0,
    description: str = "",
    work: Path | None = None,
) -> TargetAudit:
    """Audit one target: attack it by every method, test what they give by every metric, and score membership.

    Args:
        target: Borrowed in eval mode and given back as it was.
        pool: Members and controls.
        settings: The attacks, and how they are judged.
        name: Name of the target; with the seed, the source of all draws.
        seed: Seed of the audit.
        description: What the target is, in words.
        work: Folder for the state of searches that were stopped; what is finished leaves nothing there.

    Returns:
        The audit; a part that failed is a record that says why.
    """
    stage = f"seed-{seed}-{name}"
    device = resolve_device(settings.device)
    metrics = make_metrics(settings.metrics, pool.reference, device, download=settings.download)
    setup = AuditSetup(pool, metrics, seed, stage, settings.draws)
    memberships = membership_signals(target, setup, attribution=settings.attribution)
    methods = {}
    for method, choice in settings.methods.items():
        checkpoint = None if work is None else work / f"{stage}-{method}.pt"
        rng = seeded_rng(seed, f"method/{name}/{method}")
        make = partial(
            reconstruct, target, choice.kind, choice.settings, rng, reference=pool.reference, checkpoint=checkpoint
        )
        methods[method] = audit_method(method, make, setup)
        if checkpoint is not None:
            checkpoint.unlink(missing_ok=True)
    return gather(describe_target(target, pool, description), setup, methods, memberships)


def gather(
    target: TargetDescription,
    setup: AuditSetup,
    methods: Mapping[str, MethodAudit],
    memberships: Mapping[str, MembershipAudit] | None = None,
) -> TargetAudit:
    """Return the audit that is made of these parts.

    Args:
        target: What was audited.
        setup: What the parts share.
        methods: What each method gave, by its name.
        memberships: Membership by the scores that need no reconstruction.
    """
    all_memberships = dict(memberships or {})
    outcomes, tests, papers_counts = {}, {}, {}
    arrays: dict[str, Arrays] = {}
    images: dict[str, Tensor] = {}
    for method, audit in methods.items():
        outcomes[method] = audit.outcome
        tests[method] = audit.tests
        if audit.papers_count is not None:
            papers_counts[method] = audit.papers_count
        if audit.arrays:
            arrays[method] = audit.arrays
        if audit.images is not None:
            images[method] = audit.images
        for metric, measured in audit.memberships.items():
            all_memberships[f"{method}:{metric}"] = measured
    membership_results = {}
    scores: dict[str, Scores] = {}
    for score, measured in all_memberships.items():
        membership_results[score] = measured.result
        if measured.scores is not None:
            scores[score] = measured.scores
    record = AuditRecord(
        target=target,
        metrics=setup.metrics.rows(),
        methods=outcomes,
        tests=tests,
        membership=membership_results,
        papers_count=papers_counts,
    )
    return TargetAudit(record, scores, arrays, images)


def membership_signals(target: Target, setup: AuditSetup, *, attribution: bool = True) -> dict[str, MembershipAudit]:
    """Measure what needs no reconstruction: attribution, and the usual membership scores."""
    scores: dict[str, Callable[[Target, Tensor, Tensor], Tensor]] = {}
    if attribution:
        scores["attribution"] = attribute
    scores |= SIGNALS
    audits = {}
    for name, score in scores.items():
        score_pool = partial(score, target, setup.pool.floats, setup.pool.labels)
        audits[name] = audit_membership(name, score_pool, setup)
    return audits


def audit_membership(name: str, score: Callable[[], Tensor], setup: AuditSetup) -> MembershipAudit:
    """Measure how well a score of the pool images, (N,) higher = more likely a member, tells members from controls."""

    def measure() -> tuple[Scores, dict[str, float | None]]:
        scores = score().double().cpu().numpy()
        measured = membership(scores, setup.pool.design, setup.rng(f"membership/{name}"), draws=setup.draws)
        return scores, asdict(measured)

    measured = attempt(name, measure)
    if measured.value is None:
        return MembershipAudit(measured.record(MembershipResult))
    scores, figures = measured.value
    gaps = []
    if figures["tpr_at_fpr_1pct"] is None:
        gaps.append("no TPR at 1 % FPR: under 1,000 controls")
    if figures["epsilon_lower"] is None:
        gaps.append("no epsilon: it needs the pairs design")
    return MembershipAudit(measured.record(MembershipResult, reason="; ".join(gaps), **figures), scores)


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


def audit_given(reconstructions: ImageSet, embeddings: Embeddings, setup: AuditSetup, description: str) -> TargetAudit:
    """Audit a target by images that somebody made from it; where the pool has no classes, theirs say nothing.

    Args:
        reconstructions: All images that the attack gave.
        embeddings: The same images, for metrics.
        setup: What the audit shares.
        description: What was audited, in words.
    """
    labels = reconstructions.labels if setup.pool.labelled else torch.full_like(reconstructions.labels, -1)
    restart = torch.zeros(len(reconstructions), dtype=torch.int64)
    images = Reconstructions(embeddings.images, labels, restart, "given")
    outcome = MethodOutcome(n=len(images), outcome=images.outcome, seconds=0.0)
    audit = audit_reconstructions(GIVEN, images, outcome, setup, embeddings)
    return gather(describe_sizes(setup.pool, description), setup, {GIVEN: audit})


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
    pool = setup.pool
    matches = score_reconstructions(
        embeddings.by(metric), pool.embeddings.by(metric), metric, together=_images_together(pool)
    )
    test = matches.test(pool.design, setup.rng(f"verdict/{key}"), draws=setup.draws)
    figures = {
        "p_value": test.p_value,
        "attainable_p": test.attainable_p,
        "distinct_hits": test.distinct_hits,
        "similarity_member": matches.sign * float(test.similarity_member.mean()),
        "similarity_control": matches.sign * float(test.similarity_control.mean()),
    }
    return figures, {"index": matches.index, "value": matches.value}


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


def describe_target(target: Target, pool: Pool, description: str) -> TargetDescription:
    """Return what a target is, and how well it knows the members and controls of its pool."""
    predicted = collect(target, pool.floats, keep_maps=False).logits.argmax(1)
    member = pool.member
    return describe_sizes(pool, description).model_copy(
        update={
            "hash": target.hash,
            "train_accuracy": accuracy(predicted[member], pool.labels[member]),
            "control_accuracy": accuracy(predicted[~member], pool.labels[~member]),
        }
    )


def describe_sizes(pool: Pool, description: str = "") -> TargetDescription:
    """Return how many images a target is audited on, without the target."""
    return TargetDescription(
        design="pairs" if isinstance(pool.design, Pairs) else "observational",
        n_members=pool.n_members,
        n_control=pool.n_control,
        description=description,
    )


def not_audited(settings: TargetAuditSettings, target: TargetDescription, ended: Ended) -> AuditRecord:
    """Return the record of an audit that could not be begun: throughout it says why."""
    scores = ["attribution"] if settings.attribution else []
    scores += SIGNALS
    tests = {}
    for method in settings.methods:
        tests[method] = dict.fromkeys(settings.metrics, restated(ended, TestResult))
        for metric in settings.metrics:
            scores.append(f"{method}:{metric}")
    return AuditRecord(
        target=target,
        methods=dict.fromkeys(settings.methods, restated(ended, MethodOutcome)),
        tests=tests,
        membership=dict.fromkeys(scores, restated(ended, MembershipResult)),
        papers_count=dict.fromkeys(settings.methods, restated(ended, PapersCount)),
    )


def load_released(choice: ReleasedTarget, pool: Pool, device: str) -> Target:
    """Load a target that somebody else trained, and see that it knows the members of its pool.

    Args:
        choice: Where it is, and what it takes.
        pool: From ``released_pool``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:K``.

    Raises:
        SettingError: The members have more classes than the target.
        ModelError: The file cannot be read, or the target is hardly better than chance on its members.
    """
    channels, height, width = pool.images.images.shape[1:]
    spec = InputSpec(channels, height, width, mean=choice.mean, std=choice.std)
    target = load_model(choice.model, arch=choice.arch, spec=spec).to(resolve_device(device))
    if pool.classes > target.classes:
        raise SettingError(f"{choice.members} has {pool.classes} classes, {choice.model} knows {target.classes}")
    member = pool.member
    predicted = collect(target, pool.floats[member], keep_maps=False).logits.argmax(1)
    fit = accuracy(predicted, pool.labels[member])
    if fit < chance_limit(target.classes, int(member.sum()), spreads=CHANCE_SPREADS):
        raise ModelError(
            f"{choice.model} gives {fit:.0%} of its members their class, hardly more than chance; "
            "check arch, mean, std and members"
        )
    return target
