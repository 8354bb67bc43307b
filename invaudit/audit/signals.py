"""Membership scores that need no reconstruction, on as many images as each can afford."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from invaudit.audit.method import AuditSetup, MembershipAudit, audit_membership
from invaudit.audit.references import References, confidences, reference_scores
from invaudit.audit.target import signals_of_pool
from invaudit.data import ImageSet
from invaudit.leakage.quantile_regression import image_features, quantile_score
from invaudit.models import Target

BY_GRADIENT = ("attribution", "gradient-norm")
"""Scores that take a backward pass for each image, and are measured on fewer."""
BATCH = 256
"""Images that are looked at together."""


def score_signals(
    target: Target, setup: AuditSetup, weighed: NDArray[np.int64], *, attribution: bool = True
) -> dict[str, MembershipAudit]:
    """Measure the usual membership scores on a pool, those by gradients on a part of it.

    Args:
        target: The model.
        setup: The pool, and what the audit shares.
        weighed: Positions of the images that scores by gradients are measured on.
        attribution: Whether to score by attribution too.

    Returns:
        By name of the score; its scores are NaN for images that it was not measured on.
    """
    part = replace(setup, pool=setup.pool.subset(weighed))
    audits = {}
    for name, score in signals_of_pool(attribution=attribution).items():
        own = part if name in BY_GRADIENT else setup
        measured = audit_membership(name, partial(score, target, own.pool.floats, own.pool.labels), own)
        if name in BY_GRADIENT and measured.scores is not None:
            scores = np.full(len(setup.pool), np.nan)
            scores[weighed] = measured.scores
            measured = measured._replace(scores=scores)
        audits[name] = measured
    return audits


def score_by_references(arrays: Mapping[str, NDArray], setup: AuditSetup) -> dict[str, MembershipAudit]:
    """Measure the membership scores that reference models allow, by name.

    Args:
        arrays: Of ``References``, with ``own`` and perhaps ``own_population``: what the model itself answers.
        setup: The pool, and what the audit shares.
    """
    scores = reference_scores(arrays["own"], References.of(arrays), arrays.get("own_population"))
    audits = {}
    for name, values in scores.items():
        audits[name] = audit_membership(name, partial(torch.from_numpy, values), setup)
    return audits


def score_by_quantiles(target: Target, setup: AuditSetup, unseen: ImageSet, *, seed: int) -> MembershipAudit:
    """Measure how much surer the model is of an image than of unseen ones like it: a score without other models."""
    pool = setup.pool

    def score() -> torch.Tensor:
        features = image_features(pool.floats, pool.labels, target.classes)
        of_unseen = []
        for images, labels in zip(unseen.batches(BATCH), unseen.labels.split(BATCH), strict=True):
            of_unseen.append(image_features(images, labels, target.classes))
        own, others = confidences(target, pool.images), confidences(target, unseen)
        return torch.from_numpy(quantile_score(own, features, others, np.concatenate(of_unseen), seed=seed))

    return audit_membership("quantile", score, setup)


def scores_of(audits: Mapping[str, MembershipAudit]) -> dict[str, NDArray[np.float64]]:
    """Return the scores that could be measured, by name."""
    return {name: audit.scores for name, audit in audits.items() if audit.scores is not None}
