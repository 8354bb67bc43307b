"""The audit of one target on one pool: every method, metric and membership score, each with how it ended."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from invaudit.audit.attempts import restated
from invaudit.audit.method import (
    Arrays,
    AuditSetup,
    MembershipAudit,
    MethodAudit,
    Scores,
    audit_membership,
    audit_method,
    audit_reconstructions,
)
from invaudit.audit.metrics import MetricSet, make_metrics
from invaudit.audit.settings import ReleasedTarget, TargetAuditSettings
from invaudit.data import ImageSet, seeded_rng
from invaudit.leakage import (
    SIGNALS,
    Pool,
    Reconstructions,
    attribute,
    reconstruct,
)
from invaudit.leakage.matches import Embeddings
from invaudit.models import Target, accuracy, collect, resolve_device
from invaudit.models.suitability import refuse_misfit
from invaudit.records import (
    AuditRecord,
    Ended,
    MembershipResult,
    MethodOutcome,
    PapersCount,
    TargetDescription,
    TestResult,
)
from invaudit.records.names import GIVEN
from invaudit.runtime.errors import SettingError


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
    memberships: Mapping[str, MembershipAudit] | None = None,
    metrics: MetricSet | None = None,
    depth: int = 1,
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
        memberships: Membership scores that need no reconstruction, where they are measured already.
        metrics: The metrics, where they are made already.
        depth: How many times as long as the test needs it lists of neighbours are, for tests on parts of the pool.

    Returns:
        The audit; a part that failed is a record that says why.
    """
    stage = f"seed-{seed}-{name}"
    if metrics is None:
        device = resolve_device(settings.device)
        metrics = make_metrics(settings.metrics, pool.reference, device, download=settings.download)
    setup = AuditSetup(pool, metrics, seed, stage, settings.draws, depth)
    if memberships is None:
        memberships = membership_signals(target, setup, attribution=settings.attribution)
    searches = None if work is None else work / stage
    methods = {}
    for method, choice in settings.methods.items():
        checkpoint = None if searches is None else searches / method / "search.pt"
        rng = seeded_rng(seed, f"method/{name}/{method}")
        make = partial(
            reconstruct, target, choice.kind, choice.settings, rng, reference=pool.reference, checkpoint=checkpoint
        )
        methods[method] = audit_method(method, make, setup)
    if searches is not None:
        shutil.rmtree(searches, ignore_errors=True)
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
    audits = {}
    for name, score in signals_of_pool(attribution=attribution).items():
        score_pool = partial(score, target, setup.pool.floats, setup.pool.labels)
        audits[name] = audit_membership(name, score_pool, setup)
    return audits


def signals_of_pool(*, attribution: bool) -> dict[str, Callable[[Target, Tensor, Tensor], Tensor]]:
    """Return the membership scores that need no reconstruction, in the order of their rows."""
    return ({"attribution": attribute} if attribution else {}) | SIGNALS


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
        design=pool.design.name,
        n_members=pool.n_members,
        n_control=pool.n_control,
        description=description,
    )


def not_audited(settings: TargetAuditSettings, target: TargetDescription, ended: Ended) -> AuditRecord:
    """Return the record of an audit that could not be begun: throughout it says why."""
    scores = [*signals_of_pool(attribution=settings.attribution)]
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
    target = choice.load(choice.model, pool.images.shape).to(resolve_device(device))
    if pool.classes > target.classes:
        raise SettingError(f"{choice.members} has {pool.classes} classes, {choice.model} knows {target.classes}")
    refuse_misfit(target, pool.images.subset(pool.member), f"the members {choice.members}")
    return target
