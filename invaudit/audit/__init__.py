"""The audit of one model: attacks on it and what they show, or reconstructions that somebody else made.

``audit_target`` audits a target on a pool; ``score`` says whether given reconstructions show a leak, and
``make_attack_control`` makes what it needs to say that they do not.
"""

from typing import TYPE_CHECKING

from invaudit.runtime.lazy import attach

if TYPE_CHECKING:
    from invaudit.audit.attack_control import AttackControlResult, AttackControlSettings, make_attack_control
    from invaudit.audit.model_audit import ModelAuditResult, audit_model
    from invaudit.audit.model_settings import ModelAuditSettings
    from invaudit.audit.pools import coin_pool, released_pool
    from invaudit.audit.reconstructions import ScoreResult, ScoreSettings, score
    from invaudit.audit.references import (
        References,
        confidences,
        given_references,
        reference_scores,
        train_references,
    )
    from invaudit.audit.settings import AuditSettings, MethodChoice, MetricChoice, ReleasedTarget, TargetAuditSettings
    from invaudit.audit.target import TargetAudit, audit_target, load_released

__all__ = [
    "AttackControlResult",
    "AttackControlSettings",
    "AuditSettings",
    "MethodChoice",
    "MetricChoice",
    "ModelAuditResult",
    "ModelAuditSettings",
    "References",
    "ReleasedTarget",
    "ScoreResult",
    "ScoreSettings",
    "TargetAudit",
    "TargetAuditSettings",
    "audit_model",
    "audit_target",
    "coin_pool",
    "confidences",
    "given_references",
    "load_released",
    "make_attack_control",
    "reference_scores",
    "released_pool",
    "score",
    "train_references",
]
__getattr__, __dir__ = attach(__name__)
