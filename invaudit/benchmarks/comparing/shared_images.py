"""The images that two audits have both scored, whichever else each of them has.

An image is known by its place among the members, or the controls, that were given: audits whose sets have other hashes
are refused before, so that the same place is the same image.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from invaudit.benchmarks.comparing.audited import Scored
from invaudit.stats import Design, Observational, Pairs

IDENTITY = ("labels", "member", "source", "pair", "unit")
"""Arrays of a pool that say which image stands where, and which move together."""
NOT_KEPT = "the scores of single images are not kept"
NO_POOL = "the pool is not kept"
OTHER_IMAGES = "other images of the members and controls were tested; give both audits the same seed and sizes"
ONE_SIDE = "members, or controls, of both audits have none in common that was scored"

Positions = NDArray[np.int64]


class Shared(NamedTuple):
    """Scores of the images that both audits have scored, in the same order.

    Attributes:
        before: (N,) those of the first.
        after: (N,) those of the second.
        design: Who is a member, and what moves together.
    """

    before: NDArray[np.float64]
    after: NDArray[np.float64]
    design: Design


def shared_scores(before: Scored | None, after: Scored | None) -> Shared | str:
    """Return the scores of the images that both have scored; where there are none, the reason."""
    if before is None or after is None:
        return NOT_KEPT
    if not before.pool or not after.pool:
        return NO_POOL
    places = _places(before.pool, after.pool)
    if places is None:
        return OTHER_IMAGES
    old, new = places
    finite = np.isfinite(before.scores[old]) & np.isfinite(after.scores[new])
    old, new = old[finite], new[finite]
    member = before.pool["member"][old]
    if member.all() or not member.any():
        return ONE_SIDE
    return Shared(before.scores[old], after.scores[new], design_of(before.pool).subset(old))


def _places(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> tuple[Positions, Positions] | None:
    """Return where the images that are in both pools stand in each; None where that cannot be."""
    if not all("source" in pool and "pair" not in pool for pool in (before, after)):
        # Pairs are drawn from one set, and are whole only with all of them.
        alike = all(np.array_equal(before.get(name, np.empty(0)), after.get(name, np.empty(0))) for name in IDENTITY)
        everywhere = np.arange(len(before["member"]))
        return (everywhere, everywhere) if alike else None
    named = [2 * pool["source"] + pool["member"] for pool in (before, after)]
    _, old, new = np.intersect1d(*named, assume_unique=True, return_indices=True)
    order = np.argsort(old)
    old, new = old[order], new[order]
    same_labels = np.array_equal(before["labels"][old], after["labels"][new])
    same_units = np.array_equal(_together(before, old), _together(after, new))
    return (old, new) if same_labels and same_units else None


def _together(pool: Mapping[str, np.ndarray], positions: Positions) -> Positions:
    """Return for each of these images the first of them that moves with it: the same whatever units are numbered."""
    units = pool.get("unit", np.arange(len(pool["member"])))[positions]
    _, first, number = np.unique(units, return_index=True, return_inverse=True)
    return first[number]


def design_of(pool: Mapping[str, np.ndarray]) -> Design:
    """Return how membership came about, from the arrays of ``pool.npz``."""
    if "pair" in pool:
        return Pairs(pool["member"], pool["pair"])
    return Observational(pool["member"], pool["stratum"], pool.get("unit"))
