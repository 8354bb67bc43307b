"""How well a membership score tells members from controls."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit, ndtri

from invaudit.runtime.errors import ShapeError
from invaudit.stats.checks import at_least_one, finite_array
from invaudit.stats.conformal import conformal_threshold
from invaudit.stats.delong import TAIL, auroc_interval
from invaudit.stats.designs import Design
from invaudit.stats.estimate import Estimate
from invaudit.stats.privacy import epsilon_lower_bound
from invaudit.stats.rank_metrics import auroc
from invaudit.stats.relabelling import chunks, upper_p

TPR_CONTROLS = 1000  # from here on 1 % of half of the controls is 5 images
FPR = 0.01


@dataclass(frozen=True)
class Membership:
    """How well a score tells members from controls.

    Attributes:
        auroc: Probability that a member scores above a control, ties counted half.
        auroc_low: Lower end of its 95 % interval.
        auroc_high: Upper end.
        tpr_at_fpr_1pct: Share of members above a threshold that 1 % of controls pass; None below 1,000 controls.
        p_value: p-value of the AUROC, one-sided, by relabelling.
        epsilon_lower: Lower bound of epsilon at 95 % (replace-one adjacency, `epsilon_lower_bound`); None but under
            ``pairs``.
    """

    auroc: float
    auroc_low: float
    auroc_high: float
    tpr_at_fpr_1pct: float | None
    p_value: float
    epsilon_lower: float | None


def membership(
    scores: ArrayLike,
    design: Design,
    rng: np.random.Generator,
    *,
    draws: int = 9999,
    guesses: int = 20,
    delta: float = 1e-5,
) -> Membership:
    """Measure a membership score.

    The interval is DeLong's with pairs or groups as the sampling units, in place of drawing whole units again, which
    covers too seldom near 1 (10 pairs at AUROC 0.95: 74 % against 97 %); an exact bound where it has no width. The
    p-value is (1 + #{AUROC* >= AUROC}) / (1 + B) over relabellings of the design. The threshold for the TPR comes from
    the controls of a random half of the units, and the TPR from the members of the others. Epsilon: for the
    ``guesses`` pairs whose two scores differ most, the image with the higher score is guessed to be the member; equal
    scores are a wrong guess.

    Args:
        scores: (N,) score of each pool image, higher = more likely a member, computed without knowing who is one.
        design: How membership came about.
        rng: Source of the relabellings and of the halves.
        draws: Number of relabellings B.
        guesses: Number of guesses for epsilon, fixed before looking; all pairs if there are fewer.
        delta: The delta of the DP claims that are tested.

    Returns:
        The measurements.

    Raises:
        ShapeError: Not one score per pool image.
        SettingError: A score is NaN or infinite, or a setting outside its range.

    References:
        DeLong, DeLong and Clarke-Pearson 1988, for units of several images Obuchowski 1997; logit scale: Qin and
        Hotilovac 2008.
    """
    values = _one_per_image(scores, design, "scores")
    at_least_one(draws, "draws")
    at_least_one(guesses, "guesses")
    estimate = _interval(values, design)
    return Membership(
        auroc=estimate.value,
        auroc_low=estimate.low,
        auroc_high=estimate.high,
        p_value=float(membership_p_values(values[None], design, rng, draws=draws)[0]),
        tpr_at_fpr_1pct=_tpr(values, design, rng),
        epsilon_lower=_epsilon(values, design, guesses, delta) if design.name == "pairs" else None,
    )


def membership_difference(before: ArrayLike, after: ArrayLike, design: Design) -> Estimate:
    """Return by how much the AUROC of a membership score has changed, with a paired 95 % interval.

    Both score the same images, so each unit of the design moves the difference by what it moves the one AUROC less
    what it moves the other: DeLong's variance of a paired difference, over units. Where that variance says nothing, as
    where both separate members and controls perfectly, the interval goes from the lowest to the highest difference of
    the two intervals; scores that are equal have a difference of exactly 0.

    Args:
        before: (N,) score of each pool image, higher = more likely a member.
        after: (N,) the same of the other network.
        design: How membership came about.

    Returns:
        AUROC after minus before, in [-1, 1]; ``n`` counts images.

    Raises:
        ShapeError: Not one score per pool image.
        SettingError: A score is NaN or infinite.

    References:
        DeLong, DeLong and Clarke-Pearson 1988; for units of several images Obuchowski 1997.
    """
    first, second = _one_per_image(before, design, "before"), _one_per_image(after, design, "after")
    if np.array_equal(first, second):
        return Estimate(0.0, 0.0, 0.0, len(first), "none: equal scores")
    old, new = _moves(first, design), _moves(second, design)
    value = new.auroc - old.auroc
    variance = _variance(_Moves(value, new.above - old.above, new.below - old.below), design)
    if variance is None:
        old_bounds, new_bounds = _interval(first, design), _interval(second, design)
        low, high = new_bounds.low - old_bounds.high, new_bounds.high - old_bounds.low
        return Estimate(value, low, high, len(first), "bounds of both intervals, not paired")
    step = float(ndtri(1 - TAIL) * np.sqrt(variance))
    low, high = max(-1.0, value - step), min(1.0, value + step)
    return Estimate(value, low, high, len(first), "paired DeLong over units")


def _one_per_image(scores: ArrayLike, design: Design, name: str) -> NDArray[np.float64]:
    values = finite_array(scores, name)
    if len(values) != len(design):
        raise ShapeError(f"{name} has {len(values)} entries, expected {len(design)}; pass one score per pool image")
    return values


class _Moves(NamedTuple):
    """An AUROC, and by how much each unit moves it."""

    auroc: float
    above: NDArray[np.float64]
    """(U,) by the members of the unit."""
    below: NDArray[np.float64]
    """(U,) by its controls."""


def _moves(scores: NDArray[np.float64], design: Design) -> _Moves:
    member = design.member
    controls, members = scores[~member], scores[member]
    value = auroc(controls, members)
    place = _places(design)
    beyond = np.empty(len(scores))
    beyond[member], beyond[~member] = _placements(members, controls), 1 - _placements(controls, members)
    moved = (beyond - value) / np.where(member, len(members), len(controls))
    n_units = place.max() + 1
    above = np.bincount(place[member], moved[member], minlength=n_units)
    below = np.bincount(place[~member], moved[~member], minlength=n_units)
    return _Moves(value, above.astype(np.float64), below.astype(np.float64))


def _places(design: Design) -> NDArray[np.int64]:
    """(N,) number of each image's unit, from 0."""
    return np.unique(design.units, return_inverse=True)[1]


def _variance(moves: _Moves, design: Design) -> float | None:
    """Variance over units, which are independent; None where it says nothing."""
    member, place = design.member, _places(design)
    above, below = moves.above, moves.below
    n_above, n_below = len(np.unique(place[member])), len(np.unique(place[~member]))
    if min(n_above, n_below) <= 1:
        return None
    both = n_above / (n_above - 1) if design.name == "pairs" else 0.0
    variance = above @ above * n_above / (n_above - 1) + below @ below * n_below / (n_below - 1)
    variance += 2 * both * (above @ below)
    # Below this it is the rounding of zero, as where both images of every pair have one score.
    return float(variance) if variance > 1e-12 * (above @ above + below @ below) else None


def _interval(scores: NDArray[np.float64], design: Design) -> Estimate:
    """AUROC with DeLong's variance over units; the units are independent, the images of a unit are not."""
    moves = _moves(scores, design)
    value, variance = moves.auroc, _variance(moves, design)
    if 0 < value < 1 and variance is not None:
        step = ndtri(1 - TAIL) * np.sqrt(variance) / (value * (1 - value))
        low, high = expit(logit(value) - step), expit(logit(value) + step)
        return Estimate(value, float(low), float(high), len(scores), "DeLong over units, logit scale")
    return _bound(scores, design, _places(design), value)


def _placements(scores: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the others below each score, ties half."""
    ordered = np.sort(others)
    below = np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right")
    return below / (2 * len(others))


def _bound(scores: NDArray[np.float64], design: Design, place: NDArray[np.int64], value: float) -> Estimate:
    """The interval where the variance says nothing: from one image per unit, members and controls of other units."""
    single = design.member == (place % 2 == 0) if design.name == "pairs" else np.ones(len(scores), dtype=bool)
    chosen = np.flatnonzero(single)[np.unique(place[single], return_index=True)[1]]
    member = design.member[chosen]
    if member.all():  # one pair
        return Estimate(value, 0.0, 1.0, len(scores), "none: one pair")
    bound = auroc_interval(scores[chosen][~member], scores[chosen][member])
    return Estimate(value, min(bound.low, value), max(bound.high, value), len(scores), bound.method)


def membership_p_values(
    scores: ArrayLike, design: Design, rng: np.random.Generator, *, draws: int = 9999
) -> NDArray[np.float64]:
    """Return the one-sided relabelling p-values of the AUROC of several scores, under the same relabellings.

    Args:
        scores: (S, N) scores of the pool images, higher = more likely a member.
        design: How membership came about, over the N images.
        rng: Source of the relabellings.
        draws: Number of relabellings.

    Returns:
        (S,) p-values.
    """
    # The sum of the members' ranks orders labellings as the AUROC does; doubled, so that ties cost no rounding.
    ranks = np.stack([_doubled_ranks(score) for score in finite_array(scores, "scores", ndim=2)], axis=1)
    sums = [design.member[None] @ ranks]
    for size in chunks(draws, len(ranks)):
        sums.append(design.relabellings(rng, size) @ ranks)
    return upper_p(np.concatenate(sums).T)[:, 0]


def _doubled_ranks(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    return (2 * np.cumsum(counts) - counts)[place].astype(np.float64)


def _tpr(scores: NDArray[np.float64], design: Design, rng: np.random.Generator) -> float | None:
    member = design.member
    if (~member).sum() < TPR_CONTROLS:
        return None
    units = rng.permutation(np.unique(design.units[~member]))
    first = np.isin(design.units, units[: len(units) // 2])
    held_out = scores[first & ~member]
    if len(held_out) < 1 / FPR:
        return None
    return float(np.mean(scores[member & ~first] > conformal_threshold(held_out, FPR)))


def _epsilon(scores: NDArray[np.float64], design: Design, guesses: int, delta: float) -> float:
    order = np.argsort(design.units, kind="stable").reshape(-1, 2)
    # The pair's first and second image, in the order of the pool: no label is looked at before the guess.
    margin = scores[order[:, 0]] - scores[order[:, 1]]
    r = min(guesses, len(order))
    guessed = np.argsort(-np.abs(margin), kind="stable")[:r]
    right = np.where(design.member[order[guessed, 0]], margin[guessed] > 0, margin[guessed] < 0)
    return epsilon_lower_bound(len(order), r, int(right.sum()), delta)
