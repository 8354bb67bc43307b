"""Resampling of images and of seeds, with the same draws for every detector.

A draw is a count per image, so one table of counts serves all detectors, and the AUROC of a resample is a weighted
AUROC that needs no new sort. The counts of an image over all resamples lie side by side in memory, so that adding an
image to all of them is one step. What compares two detectors subtracts their draws one by one.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from invaudit.runtime.errors import SettingError, ShapeError
from invaudit.stats.checks import at_least_one, finite_array
from invaudit.stats.estimate import Estimate

MIN_SEEDS = 5
BLOCK = 64
"""Images whose counts are copied at a time: few enough to stay in the cache."""

Over = Literal["images", "images and seeds"]


@dataclass(frozen=True, eq=False)
class SeedDraws:
    """How much each resample weighs each seed.

    Attributes:
        weights: (B, S); each row sums to 1, single weights may be negative.
        over: What the resampling speaks of.
    """

    weights: NDArray[np.float64]
    over: Over


def resample_images(n: int, rng: np.random.Generator, *, n_draws: int = 1000) -> NDArray[np.uint8]:
    """Draw resamples of the images of one set, each of its own size and with replacement.

    What shares the images has to share the draws: detectors, and seeds where the set is the same for all of them.

    Args:
        n: Number of images.
        rng: Source of the draws.
        n_draws: Number of resamples B. Their number limits p-values: see `two_sided_p`.

    Returns:
        (n, B) how often each resample holds each image; one byte each, since no image is drawn more than 255 times.

    Raises:
        SettingError: A count below 1.
    """
    counts = np.empty((at_least_one(n_draws, "n_draws"), at_least_one(n, "n")), dtype=np.uint8)
    # Many times quicker than one binomial per image.
    for row in counts:
        row[:] = np.bincount(rng.integers(n, size=n), minlength=n)
    return np.ascontiguousarray(counts.T)


def bootstrap_auroc(
    id_scores: ArrayLike, ood_scores: ArrayLike, id_counts: NDArray, ood_counts: NDArray
) -> NDArray[np.float64]:
    """Return the AUROC of each resample, ties counted half, in one walk over the images in the order of their scores.

    Args:
        id_scores: (n_id,) scores of ID images, higher = more OOD.
        ood_scores: (n_ood,) scores of OOD images.
        id_counts: (n_id, B) weights >= 0 of the ID images, each column of positive sum.
        ood_counts: (n_ood, B) the same for OOD.

    Returns:
        (B,) AUROC in [0, 1]; exact for counts.

    Raises:
        ShapeError: Scores empty, or counts that do not fit them or one another.
        SettingError: A score is NaN or infinite, a weight negative or NaN, or a column without weight.
    """
    id_scores, ood_scores = finite_array(id_scores, "id_scores"), finite_array(ood_scores, "ood_scores")
    id_total = _checked_total(id_counts, (len(id_scores), "B"), "id_counts")
    ood_total = _checked_total(ood_counts, (len(ood_scores), len(id_total)), "ood_counts")
    order = np.argsort(ood_scores)
    ordered = ood_scores[order]
    # Among the ordered OOD images, those from the first position on are no lower than the ID image, and those from the
    # second on are higher: it adds to both, so that ties count half.
    passed = np.concatenate([np.searchsorted(ordered, id_scores, "left"), np.searchsorted(ordered, id_scores, "right")])
    rising = np.argsort(passed)
    starts, first = np.unique(passed[rising], return_index=True)
    lower, won = np.zeros((2, len(id_total)))
    for images, start, end in zip(
        np.split(rising % len(id_scores), first[1:]), starts, [*starts[1:], len(order)], strict=True
    ):
        lower += _total(id_counts, images)
        won += lower * _total(ood_counts, order[start:end])
    return won / (2 * id_total * ood_total)


def bootstrap_fpr95(
    id_scores: ArrayLike, ood_scores: ArrayLike, id_counts: NDArray, ood_counts: NDArray
) -> NDArray[np.float64]:
    """Return the FPR95 of each resample: the share of OOD at or below the threshold that accepts 95 % of ID.

    Arguments, exceptions and ties as of `bootstrap_auroc` and `fpr95`.

    Returns:
        (B,) shares in [0, 1]; exact for counts.
    """
    id_scores, ood_scores = finite_array(id_scores, "id_scores"), finite_array(ood_scores, "ood_scores")
    id_total = _checked_total(id_counts, (len(id_scores), "B"), "id_counts")
    ood_total = _checked_total(ood_counts, (len(ood_scores), len(id_total)), "ood_counts")
    rising = np.argsort(id_scores)
    accepted = np.cumsum(id_counts[rising], axis=0, dtype=np.float64)
    # 20 a >= 19 n is a / n >= 0.95 without rounding.
    thresholds = id_scores[rising][np.argmax(20 * accepted >= 19 * id_total, axis=0)]
    rising = np.argsort(ood_scores)
    passed = np.cumsum(ood_counts[rising], axis=0, dtype=np.float64)
    # Before the first image none has passed.
    passed = np.concatenate([np.zeros((1, len(id_total))), passed])
    places = np.searchsorted(ood_scores[rising], thresholds, "right")
    return passed[places, np.arange(len(id_total))] / ood_total


def _total(counts: NDArray, images: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the weight of some images in each resample."""
    total = np.zeros(counts.shape[1])
    for start in range(0, len(images), BLOCK):
        total += counts[images[start : start + BLOCK]].sum(axis=0, dtype=np.float64)
    return total


def _checked_total(counts: NDArray, expected: tuple[int, int | Literal["B"]], name: str) -> NDArray[np.float64]:
    """Return the weight of all images in each resample; ``"B"`` stands for any number of resamples."""
    n, n_draws = expected
    if counts.ndim != 2 or len(counts) != n or n_draws not in ("B", counts.shape[1]):
        raise ShapeError(
            f"{name} has shape {counts.shape}, expected ({n}, {n_draws}), one row for each image and one column for "
            "each resample; pass the counts that were drawn for these images"
        )
    total = counts.sum(axis=0, dtype=np.float64)
    if not (counts.min(initial=0) >= 0 and (total > 0).all()):
        raise SettingError(f"{name} holds a negative weight or an empty column; pass weights >= 0 of positive sum")
    return total


def resample_seeds(n_seeds: int, rng: np.random.Generator, *, n_draws: int = 1000) -> SeedDraws:
    """Draw weights of the seeds, so that a weighted mean over seeds varies as far as training anew would move it.

    From 5 seeds on the weights are 1 / S + (z - mean(z)) / sqrt(S c), z normal and c chi-square with S - 1 degrees of
    freedom: the weighted mean of values x is then mean(x) + sd(x) / sqrt(S) * t, with Student's t, so that intervals
    and p-values for normal x are exactly those of the t-test. Drawing whole seeds with replacement would call 16 % of
    null differences significant at 5 %, and 7 % at 0.2 %, with 5 seeds. With fewer seeds each weighs 1 / S.

    Args:
        n_seeds: Number of seeds S.
        rng: Source of the draws.
        n_draws: Number of resamples B, as many as of the images.

    Returns:
        The weights, and what the result speaks of: images only, below 5 seeds.

    Raises:
        SettingError: A count below 1.

    References:
        Multiplier (weighted) bootstrap, van der Vaart and Wellner 1996, chapter 3.6, with Student multipliers.
    """
    at_least_one(n_seeds, "n_seeds")
    at_least_one(n_draws, "n_draws")
    if n_seeds < MIN_SEEDS:
        return SeedDraws(np.full((n_draws, n_seeds), 1 / n_seeds), "images")
    normal = rng.standard_normal((n_draws, n_seeds))
    spread = np.sqrt(n_seeds * rng.chisquare(n_seeds - 1, (n_draws, 1)))
    return SeedDraws(1 / n_seeds + (normal - normal.mean(axis=1, keepdims=True)) / spread, "images and seeds")


def combine(
    values: ArrayLike, *, over_sets: Literal["mean", "worst"] = "mean", seeds: SeedDraws | None = None
) -> NDArray[np.float64]:
    """Return the mean over seeds of the mean, or of the smallest, over OOD sets, per resample.

    Args:
        values: (S, K, B) of each seed, OOD set and resample; B = 1 for the values as observed.
        over_sets: "mean", or "worst" for the smallest value over sets, found anew in each seed and resample.
        seeds: Weights of the seeds for each resample; equal without them.

    Returns:
        (B,) combined values.

    Raises:
        ShapeError: Not three-dimensional, empty, or weights of another shape than (B, S).
        SettingError: A value is NaN or infinite, or ``over_sets`` is another word.
    """
    array = finite_array(values, "values", ndim=3)
    if over_sets not in ("mean", "worst"):
        raise SettingError(f'over_sets is {over_sets!r}, expected "mean" or "worst"; choose one of them')
    by_seed = array.mean(axis=1) if over_sets == "mean" else array.min(axis=1)
    if seeds is None:
        return by_seed.mean(axis=0)
    if seeds.weights.shape != by_seed.shape[::-1]:
        raise ShapeError(
            f"seeds has weights of shape {seeds.weights.shape}, expected (B, S) = {by_seed.shape[::-1]}; "
            "draw as many resamples of the seeds as of the images"
        )
    return np.einsum("bs,sb->b", seeds.weights, by_seed)


def percentile_interval(resampled: ArrayLike, *, value: float, n: int, over: Over = "images") -> Estimate:
    """Return the middle 95 % of the resampled values.

    Args:
        resampled: (B,) the statistic of each resample.
        value: The statistic as observed.
        n: Number of images behind it.
        over: What was resampled; it goes into ``method``.

    Returns:
        The estimate.

    Raises:
        ShapeError: Empty or not one-dimensional.
        SettingError: A value is NaN or infinite.

    References:
        Efron and Tibshirani 1993, chapter 13.
    """
    low, high = np.quantile(finite_array(resampled, "resampled"), (0.025, 0.975))
    return Estimate(value, float(low), float(high), n, f"percentile bootstrap over {over}")


def two_sided_p(differences: ArrayLike) -> float:
    """Return the p-value of "the difference is 0" from resampled differences.

    Twice the smaller share of resamples on either side of 0, each side counted with one resample more, at most 1.

    Args:
        differences: (B,) the paired difference of each resample.

    Returns:
        A p-value in [2 / (B + 1), 1]: for m comparisons that Holm should be able to call at 5 %, B >= 40 m.

    Raises:
        ShapeError: Empty or not one-dimensional.
        SettingError: A value is NaN or infinite.

    References:
        Davison and Hinkley 1997, section 4.4, for the added one.
    """
    d = finite_array(differences, "differences")
    side = min(np.count_nonzero(d <= 0), np.count_nonzero(d >= 0))
    return min(1.0, 2 * (1 + side) / (len(d) + 1))
