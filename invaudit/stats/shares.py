"""A share that was counted, with its interval."""

import math

from scipy.special import betaincinv

from invaudit.runtime.errors import SettingError
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
    value = first.value - second.value
    low = value - math.hypot(first.value - first.low, second.high - second.value)
    high = value + math.hypot(first.high - first.value, second.value - second.low)
    return Estimate(value, max(low, -1.0), min(high, 1.0), first.n + second.n, "Newcombe, from exact intervals")
