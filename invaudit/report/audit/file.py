"""What ``audit.json`` says of the audit of a model beyond what it says of every leakage run."""

from dataclasses import asdict
from typing import Any

from invaudit.records.audit_file import (
    AuditClaims,
    AuditClass,
    AuditGallery,
    AuditMembershipTest,
    AuditMembershipVerdict,
    AuditPair,
    AuditPlan,
    AuditPreflight,
    AuditRepeats,
    AuditStage,
)
from invaudit.report.audit.content import QUESTIONS, Content


def membership_verdict(content: Content) -> AuditMembershipVerdict:
    """Return the verdict on membership with its tests."""
    overall = content.verdicts["membership"]
    return AuditMembershipVerdict(
        verdict=content.verdict("membership"),
        reasons=() if overall is None else overall.reasons,
        tests=tuple(map(AuditMembershipTest.of, content.audit.membership_tests)),
    )


def audit_fields(content: Content | None) -> dict[str, Any]:
    """Return the fields that only the audit of a model has; all of them None for another run."""
    if content is None:
        return dict.fromkeys(("repeats", "claims", "preflight", "plan", "gallery"))
    audit = content.audit
    repeats = [AuditRepeats(question=name, **asdict(content.repeats[name])) for name in QUESTIONS]
    return {
        "repeats": tuple(repeats) if audit.repeats else None,
        "claims": None if audit.claims is None else AuditClaims.of(audit.claims),
        "preflight": _preflight(content),
        "plan": _plan(content),
        "gallery": _gallery(content),
    }


def _preflight(content: Content) -> AuditPreflight | None:
    seen = content.audit.preflight
    return None if seen is None else AuditPreflight.model_validate(seen.model_dump(exclude={"schema_version"}))


def _plan(content: Content) -> AuditPlan | None:
    plan = content.audit.plan
    if plan is None:
        return None
    stages = tuple(map(AuditStage.of, content.audit.stages))
    return AuditPlan(budget_s=plan.budget_s, left_out=plan.left_out, stages=stages)


def _gallery(content: Content) -> AuditGallery | None:
    found = content.audit.gallery
    if found is None:
        return None
    search, pairs = found.inversion, () if found.borders is None else found.borders.pairs
    classes = []
    for position, (label, name) in enumerate(zip(found.classes, found.class_names, strict=True)):
        accuracy = search.accuracy[position] if search is not None and search.accuracy else None
        classes.append(AuditClass(label=label, name=name, accuracy=accuracy))
    touching = []
    for row in pairs:
        labels = {"first": found.classes[row.first], "second": found.classes[row.second]}
        touching.append(AuditPair.of(row, **labels))
    return AuditGallery(
        status=found.status,
        reason=found.reason,
        by=None if search is None else search.by,
        outcome=None if search is None else search.outcome,
        message=None if search is None else search.message,
        share_of_steps=found.share_of_steps,
        classes=tuple(classes),
        touching=tuple(touching),
    )
