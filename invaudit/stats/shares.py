"""A share that was counted, with its interval."""

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
