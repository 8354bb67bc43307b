"""Claims: which single members a score exposes, with few false ones among them.

The share of false claims is at most q on average over audits (the false-discovery rate). That holds for the list; no
single claim is sure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import ArrayLike, NDArray

from invaudit.runtime.errors import SettingError, ShapeError
from invaudit.stats.checks import finite_array
from invaudit.stats.designs import Design, Observational, Pairs

FALSE_CLAIMS = 0.1
"""The false-discovery rate of claims."""
ROUNDING = 1e-12
"""Adjusted p-values that are above a level by less are at it."""


@dataclass(frozen=True, eq=False)
class Claims:
    """Which members are claimed.

    Attributes:
        p_values: (N,) p-value of each image by each score, against the controls; controls have one against the others.
            Under ``pairs`` there are none, since the claims come from the order of signs.
        q_values: (N,) by each score, the smallest false-discovery rate at which the score alone would claim the image;
            1 for controls.
        claimed: (N,) bool, whether any score claims the image at its share of the rate.
        attainable: Whether claims could have been made at all, with scores that fit.
        reason: How many images have to stand out for any claim, or why none is attainable.
    """

    p_values: dict[str, NDArray[np.float64]]
    q_values: dict[str, NDArray[np.float64]]
    claimed: NDArray[np.bool_]
    attainable: bool
    reason: str


def make_claims(scores: Mapping[str, ArrayLike], design: Design, *, q: float = FALSE_CLAIMS) -> Claims:
    """Claim members by the scores that were declared.

    Each of S scores claims at the rate q / S, and an image is claimed if any score claims it: the share of false ones
    in the union is at most the sum of the shares in the lists, so its expectation is at most q.

    Under ``observational`` the hypothesis of a member is that its score is like that of images of the source that the
    target was not trained on. Its p-value is (1 + number of controls with at least this score) / (1 + controls), and
    Benjamini and Hochberg's procedure makes the claims: an association, which holds as far as members and controls
    differ in nothing else. With groups the largest score of each group of controls counts, as images of one group are
    no independent witnesses; that assumes groups of members and of controls to be of like size.

    Under ``pairs``, knockoff+: pairs by the difference of their two scores, from the largest down to the level tau
    where (1 + pairs whose control is higher) / (pairs whose member is higher) is last at most q / S; members above
    their control from tau on are claimed. Equal scores say nothing. The coins make this exact for any score.

    Args:
        scores: Name -> (N,) score of each pool image, higher = more likely a member, made without knowing who is one.
        design: Who is a member.
        q: The false-discovery rate.

    Raises:
        ShapeError: Not one score per pool image.
        SettingError: No score, one that is NaN or infinite, or q outside (0, 1).

    References:
        Bates, Candes, Lei, Romano and Sesia 2023 (arXiv 2104.08279); Benjamini and Hochberg 1995; Barber and Candes
        2015 (arXiv 1404.5609).
    """
    if not 0 < q < 1:
        raise SettingError(f"q is {q}, expected (0, 1); pass the share of claims that may be false")
    if not scores:
        raise SettingError("got no scores, expected at least one; declare the scores that may make claims")
    from scipy.stats import false_discovery_control  # takes long to import

    checked = {name: _checked(name, values, design) for name, values in scores.items()}
    level = q / len(checked)
    p_values: dict[str, NDArray[np.float64]] = {}
    q_values: dict[str, NDArray[np.float64]] = {}
    claimed = np.zeros(len(design), dtype=bool)
    for name, values in checked.items():
        if isinstance(design, Pairs):
            q_values[name] = knockoff_q_values(values, design)
        else:
            p_values[name] = control_p_values(values, design)
            q_values[name] = np.ones(len(design))
            q_values[name][design.member] = false_discovery_control(p_values[name][design.member])
        claimed |= design.member & (q_values[name] <= level * (1 + ROUNDING))
    attainable, reason = _attainable(design, level)
    return Claims(p_values, q_values, claimed, attainable, reason)


def control_p_values(scores: ArrayLike, design: Observational) -> NDArray[np.float64]:
    """Return (1 + number of control units with at least this score) / (1 + their number) of each image, (N,).

    A unit is a control, or the largest score of a group of controls. A control is compared with the other units. Ties
    count as larger, so against a claim.

    Args:
        scores: (N,) score of each pool image.
        design: Who is a member, and which images belong together.
    """
    values = _checked("scores", scores, design)
    member, unit = design.member, design.unit_number
    largest = np.full(unit.max() + 1, -np.inf)
    np.maximum.at(largest, unit, values)
    witnesses = np.sort(largest[~design.unit_member])
    at_least = len(witnesses) - np.searchsorted(witnesses, values, side="left")
    # The own unit of a control is among those that count, since its largest score is at least this one.
    others = np.where(member, len(witnesses), len(witnesses) - 1)
    return np.where(member, 1 + at_least, at_least) / (1 + others)


def knockoff_q_values(scores: ArrayLike, design: Pairs) -> NDArray[np.float64]:
    """Return the smallest rate at which knockoff+ claims each image, (N,); 1 for controls and members below theirs.

    Pairs with equal differences pass a level together, so ties need no coin.

    Args:
        scores: (N,) score of each pool image.
        design: The pairs.
    """
    values = _checked("scores", scores, design)
    members = np.flatnonzero(design.member)
    controls = np.flatnonzero(~design.member)
    members = members[np.argsort(design.pair[members], kind="stable")]
    controls = controls[np.argsort(design.pair[controls], kind="stable")]
    difference = values[members] - values[controls]
    size = np.abs(difference)
    right, wrong = np.sort(size[difference > 0]), np.sort(size[difference < 0])
    levels = np.unique(size[difference != 0])
    n_right = len(right) - np.searchsorted(right, levels, side="left")
    n_wrong = len(wrong) - np.searchsorted(wrong, levels, side="left")
    rate = (1 + n_wrong) / np.maximum(n_right, 1)
    smallest = np.minimum(np.minimum.accumulate(rate), 1.0)  # over the levels up to the image's own
    q_values = np.ones(len(design))
    claimable = difference > 0
    q_values[members[claimable]] = smallest[np.searchsorted(levels, size[claimable])]
    return q_values


def _checked(name: str, scores: ArrayLike, design: Design) -> NDArray[np.float64]:
    values = finite_array(scores, name)
    if len(values) != len(design):
        raise ShapeError(f"{name} has {len(values)} entries, expected {len(design)}; pass one score per pool image")
    return values


def _attainable(design: Design, level: float) -> tuple[bool, str]:
    """Return whether any scores could lead to a claim at a level, and what it takes, in words."""
    if isinstance(design, Pairs):
        pairs, least = len(design) // 2, ceil(1 / level * (1 - ROUNDING))
        if pairs < least:
            return False, f"{pairs} pairs; a claim at a false-discovery rate of {level:.3g} takes at least {least}"
        return True, f"a claim takes at least {least} pairs whose member stands out, before any whose control does"
    members, controls = int(design.member.sum()), int((~design.unit_member).sum())
    least = ceil(members / (level * (controls + 1)) * (1 - ROUNDING))
    kind = "controls" if design.group is None else "groups of controls"
    if least > members:
        return False, (
            f"{controls} {kind}; a claim at a false-discovery rate of {level:.3g} takes at least "
            f"{ceil(1 / level * (1 - ROUNDING)) - 1}"
        )
    return True, f"a claim takes at least {least} of {members} members above all {controls} {kind}"
