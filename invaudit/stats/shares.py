"""A share that was counted, with its interval."""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv, ndtri

from invaudit.runtime.errors import SettingError, ShapeError
from invaudit.stats.checks import at_least_one
from invaudit.stats.estimate import Estimate

LEVEL = 0.95


def counted_share(hits: int, n: int) -> Estimate:
    """Return the share of hits among n independent images, with its exact 95 % interval.

    Args:
        hits: Number of images that count.
        n: Number of all images.

    Returns:
        The share; the interval holds the true one in at least 95 of 100 cases, whatever n.

    Raises:
        SettingError: Not 0 <= hits <= n, or n below 1.

    References:
        Clopper and Pearson 1934.
    """
    at_least_one(n, "n")
    if not 0 <= hits <= n:
        raise SettingError(f"hits is {hits} of n = {n}, expected 0 <= hits <= n; count them again")
    tail = (1 - LEVEL) / 2
    low = float(betaincinv(hits, n - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, n - hits, 1 - tail)) if hits < n else 1.0
    return Estimate(hits / n, low, high, n, "Clopper-Pearson")


def difference_of_shares(first: Estimate, second: Estimate) -> Estimate:
    """Return the first share less the second, of different images, with its 95 % interval.

    Args:
        first: From ``counted_share``.
        second: Likewise.

    References:
        Newcombe 1998, method 10, here with the exact interval of each share, which makes it a little wider.
    """
    low, high = _bounds_apart(first, second)
    value = first.value - second.value
    return Estimate(value, max(low, -1.0), min(high, 1.0), first.n + second.n, "Newcombe, from exact intervals")


def change_of_share(before: ArrayLike, after: ArrayLike) -> Estimate:
    """Return by how much the share of images that count has changed, the same images before and after, with 95 %.

    Args:
        before: (N,) bool, whether each image counted.
        after: (N,) bool, whether it counts now.

    Returns:
        The share after less that before, in [-1, 1]; the interval has no zero width, also where nothing has changed.

    Raises:
        ShapeError: Empty, or not as many after as before.

    References:
        Bonett and Price 2012: Wald's interval with one added to each number of images that changed.
    """
    old, new = np.asarray(before, bool), np.asarray(after, bool)
    if old.ndim != 1 or old.shape != new.shape or not len(old):
        raise ShapeError(f"before has shape {old.shape}, after {new.shape}; pass one truth value for each of N images")
    n = len(old)
    gained, lost = int((~old & new).sum()), int((old & ~new).sum())
    more, less = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    step = float(ndtri((1 + LEVEL) / 2)) * math.sqrt((more + less - (more - less) ** 2) / (n + 2))
    low, high = more - less - step, more - less + step
    return Estimate((gained - lost) / n, max(low, -1.0), min(high, 1.0), n, "Bonett-Price, paired")


def difference_of_changes(first: Estimate, second: Estimate) -> Estimate:
    """Return the first change of a share less the second, of different images, in [-2, 2], with its 95 % interval.

    Args:
        first: From ``change_of_share``.
        second: Likewise.
    """
    low, high = _bounds_apart(first, second)
    return Estimate(first.value - second.value, low, high, first.n + second.n, "Newcombe, from paired intervals")


def _bounds_apart(first: Estimate, second: Estimate) -> tuple[float, float]:
    """Return the ends of the interval of a difference of two independent estimates, by the intervals of both."""
    value = first.value - second.value
    low = value - math.hypot(first.value - first.low, second.high - second.value)
    return low, value + math.hypot(first.high - first.value, second.value - second.low)
