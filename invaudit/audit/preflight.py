"""A look at model and images before an audit begins: does it fit, and what could make a verdict mean something else."""

import numpy as np

from invaudit.audit.metrics import MetricSet
from invaudit.audit.model_inputs import AuditImages, AuditPools
from invaudit.leakage import Pool
from invaudit.models import Target, collect
from invaudit.records.model_audit import Accuracy, PreflightRecord
from invaudit.similarity import nearest
from invaudit.stats import Estimate, counted_share, difference_of_shares

NEAR_COPY = 0.95
"""SSIM from which on a control counts as nearly a copy of a member."""
SHOWN = 10
"""Names of classes that a note spells out."""
FEW_CONTROLS = 1_000
"""Controls under which nothing is said of low false-positive rates."""


def preflight(
    target: Target, images: AuditImages, pools: AuditPools, compared: Pool, metrics: MetricSet, *, model: str = ""
) -> PreflightRecord:
    """Measure accuracy and its gap, and look for images that are on both sides, or nearly.

    Args:
        target: The model.
        images: All images that were given.
        pools: The pool that membership is scored on, where accuracy is measured, and what the attack control goes
            without.
        compared: The pool that reconstructions are compared with: near copies are looked for here.
        metrics: Ways to compare images; near copies need ``ssim`` among them.
        model: File of the model, or its name.
    """
    scored = pools.scored
    predicted = collect(target, scored.floats, keep_maps=False).logits.argmax(1)
    right, member = predicted == scored.labels, scored.member
    members = counted_share(int(right[member].sum()), scored.n_members)
    controls = counted_share(int(right[~member].sum()), scored.n_control)
    gap = difference_of_shares(members, controls)
    both = set(images.members.image_hashes()) & set(images.controls.image_hashes())
    near = _near_copies(compared, metrics)
    return PreflightRecord(
        model=model,
        members=_accuracy(members),
        controls=_accuracy(controls),
        gap=gap.value,
        gap_low=gap.low,
        gap_high=gap.high,
        preparation=str(target.spec.preparation or "pictures have the model's size"),
        both_sides=len(both),
        near_copies=near,
        near_similarity=NEAR_COPY,
        notes=tuple(_notes(pools, compared, gap, near)),
    )


def _near_copies(pool: Pool, metrics: MetricSet) -> int | None:
    """Return how many controls are nearly a copy of a member; None where images cannot be compared."""
    if "ssim" not in metrics.ready:
        return None
    member, metric = pool.member, metrics.ready["ssim"]
    nearest_member = nearest(pool.floats[~member], pool.floats[member], metric, 1)
    return int(np.count_nonzero(nearest_member.value.numpy() >= NEAR_COPY))


def _notes(pools: AuditPools, compared: Pool, gap: Estimate, near_copies: int | None) -> list[str]:
    pool, notes = pools.scored, []
    if pools.left_out:
        some = ", ".join(pools.left_out[:SHOWN]) + (", ..." if len(pools.left_out) > SHOWN else "")
        notes.append(
            f"The network that is known to leak was trained without {len(pools.left_out)} classes of which there are "
            f"too few controls: {some}."
        )
    if near_copies:
        notes.append(
            f"{near_copies} of {compared.n_control} controls are nearly copies of members "
            f"(SSIM {NEAR_COPY:g} or more): what is like a member is then like a control too, and a leak is harder "
            "to see."
        )
    if gap.high < 0:
        notes.append("The model is better on controls than on members: are the two swapped?")
    if pool.n_control < FEW_CONTROLS:
        notes.append(
            f"There are {pool.n_control} controls: nothing is said of false-positive rates of 1 % and below, which "
            f"takes {FEW_CONTROLS:,}."
        )
    return notes


def _accuracy(share: Estimate) -> Accuracy:
    return Accuracy(value=share.value, low=share.low, high=share.high, n=share.n)
