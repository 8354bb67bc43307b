"""How much leakage the verdict test would have noticed, had it been there."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtrc

from invaudit.runtime.errors import SettingError, ShapeError
from invaudit.stats.checks import at_least_one, finite_array
from invaudit.stats.designs import Design
from invaudit.stats.relabelling import NearestLists, chunks, min_p, nearest_lists, top_count, totals, upper_p
from invaudit.stats.verdicts import ALPHA, reaches

POWER = 0.95
DOUBT = 0.05  # probability of accepting a number whose power is below POWER
SEARCH = 100  # simulated audits per number tried
LEEWAY = 6  # draws that may reach the observed statistic, plus one: with fewer, chance costs power
CONFIRM = 500  # simulated audits for the number returned


@dataclass(frozen=True)
class ScoringLimit:
    """The smallest number of distinct members, reconstructed at this similarity, that is called ``leak``.

    It speaks of the scoring, not of the attack: an attack that makes worse images, or none, is not judged by it.

    Attributes:
        members: Number of distinct members; None if even the largest possible number is not called reliably.
        power: Share of simulated audits with that number that were called ``leak``.
        similarity: Mean similarity of the planted copies to the images they copy, in the units of the similarity.
        n_reconstructions: Number of reconstructions R.
        family: Number of tests in the family; the limit holds at the family's first Holm step.
    """

    members: int | None
    power: float
    similarity: float
    n_reconstructions: int
    family: int


@dataclass(frozen=True, eq=False)
class _Audits:
    """What the simulated audits of one pool share: the differences of all candidates under common relabellings."""

    labels: NDArray[np.bool_]  # (B, N)
    differences: NDArray[np.float32]  # (B, R + N): unrelated reconstructions, then copies of the pool images
    hits: NDArray[np.int64]  # (R + N,) nearest pool image
    design: Design
    level: float

    @property
    def n(self) -> int:
        return len(self.hits) - self.labels.shape[1]

    def called(self, members: int, rng: np.random.Generator) -> bool:
        """Simulate one audit: is it called ``leak``?"""
        truth = rng.integers(len(self.labels))
        planted = rng.choice(np.flatnonzero(self.labels[truth]), members, replace=False)
        rows = np.concatenate([rng.permutation(self.n)[members:], self.n + planted])
        if not reaches(self.design.attainable_p(self.hits[rows]), self.level):
            return False
        # The truth is one of the relabellings; with it as the observed labels, the others are its relabellings.
        part = self.differences.take(rows, axis=1)
        sums = part.sum(axis=1, dtype=np.float64)
        # The p-value of the smaller of two is at most twice either, so the first alone often settles it.
        if reaches(2 * np.mean(sums >= sums[truth]), self.level):
            return True
        return reaches(float(min_p(upper_p(totals(part, top_count(self.n))))[truth]), self.level)

    def share(self, members: int, simulations: int, misses: int, rng: np.random.Generator) -> float:
        """Return the share of simulated audits that are called ``leak``, or 0.0 after more misses than allowed."""
        missed = 0
        for _ in range(simulations):
            missed += not self.called(members, rng)
            if missed > misses:
                return 0.0
        return 1 - missed / simulations


def scoring_limit(
    similarity: ArrayLike,
    copies: ArrayLike,
    design: Design,
    rng: np.random.Generator,
    *,
    alpha: float = ALPHA,
    family: int = 1,
    draws: int | None = None,
) -> ScoringLimit:
    """Find how many distinct members must be reconstructed for the verdict test to call a leak with power 0.95.

    A simulated audit draws labels from the design, replaces g of the R unrelated reconstructions by degraded copies of
    g random members, and is called if p <= alpha / family and the distinct hits can get there. The number returned is
    found by bisection and then confirmed: it is raised until 500 simulated audits show, at 95 % confidence, a power
    above 0.95. Smaller numbers may do; for the number returned it holds. Cost: about R x B values for each of about
    1,500 simulated audits.

    Args:
        similarity: (R, N) similarity of R unrelated reconstructions to the pool; higher = more similar.
        copies: (N, N) similarity of a degraded copy of each pool image (row) to each pool image.
        design: How membership came about, over the N pool images.
        rng: Source of the simulations.
        alpha: Level of the whole family.
        family: Number of tests in the declared family.
        draws: Number of relabellings per audit; None: 999, or as many as a family needs. Fewer than the 9,999 of an
            audit lose a little power, so the limit errs on the safe side.

    Returns:
        The limit.

    Raises:
        ShapeError: Arrays that do not fit the design.
        SettingError: A similarity is NaN or infinite, or too few draws to reach the level at all.
    """
    unrelated, copied = finite_array(similarity, "similarity", ndim=2), finite_array(copies, "copies", ndim=2)
    at_least_one(family, "family")
    n_pool = len(design)
    if unrelated.shape[1] != n_pool or copied.shape != (n_pool, n_pool):
        raise ShapeError(
            f"similarity has shape {unrelated.shape} and copies {copied.shape}, expected (R, {n_pool}) and "
            f"({n_pool}, {n_pool}); pass the similarities to the whole pool of the design"
        )
    level = alpha / family
    draws = draws_for(alpha, family) if draws is None else draws
    if not reaches(1 / (draws + 1), level):
        raise SettingError(f"draws is {draws}, expected at least {math.ceil(1 / level) - 1} to reach {level:.3g}")
    table = NearestLists.of(*nearest_lists(np.concatenate([unrelated, copied])), n_pool)
    labels = design.relabellings(rng, draws + 1)
    parts = np.split(labels, np.cumsum(list(chunks(len(labels), len(table.index))))[:-1])
    differences = np.concatenate([table.differences(part).astype(np.float32) for part in parts])
    audits = _Audits(labels, differences, table.index[:, 0], design, level)
    most = min(audits.n, int(design.member.sum()))
    members, power = _smallest(audits, most, rng)
    return ScoringLimit(members, power, float(np.diagonal(copied).mean()), audits.n, family)


def draws_for(alpha: float, family: int) -> int:
    """Return how many relabellings a test needs that is simulated or repeated: 999, or as many as a family needs."""
    return max(999, math.ceil(LEEWAY / (alpha / family)))


def _smallest(audits: _Audits, most: int, rng: np.random.Generator) -> tuple[int | None, float]:
    """Return the confirmed number of members and its power; at ``most``, if that does not do, None and its power."""
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        enough = audits.share(middle, SEARCH, round(SEARCH * (1 - POWER)), rng) > 0
        low, high = (low, middle) if enough else (middle, high)
    misses = _allowed(CONFIRM)
    for members in range(high, most + 1):
        power = audits.share(members, CONFIRM, misses, rng)
        if power:
            return members, power
    return None, audits.share(most, SEARCH, SEARCH, rng)


def _allowed(simulations: int) -> int:
    """Return how many misses still show, with probability of error ``DOUBT``, a power above ``POWER``."""
    misses = np.arange(simulations)
    # P(at most that many misses) if the power were POWER.
    chance = 1 - bdtrc(misses, simulations, 1 - POWER)
    return int(np.flatnonzero(chance <= DOUBT)[-1])
