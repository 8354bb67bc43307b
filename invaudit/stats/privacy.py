"""What one trained network says against a claim of differential privacy."""

import numpy as np
from scipy.special import bdtr, bdtrc, expit

from invaudit.runtime.errors import SettingError
from invaudit.stats.checks import at_least_one

PRECISION = 1e-6


def epsilon_lower_bound(m: int, r: int, v: int, delta: float, beta: float = 0.05) -> float:
    """Return the largest epsilon such that any claim of (epsilon, delta)-DP below it is refuted at level beta.

    Each of m fair coins decided about the training data. Without seeing them the auditor guessed r of them and had v
    right. Under (epsilon, delta)-DP, with q = e^eps / (1 + e^eps),

        P[V >= v] <= P[Bin(r, q) >= v] + 2 m delta max_{1 <= i <= v} P[v > Bin(r, q) >= v - i] / i,

    and the bound is where the right side reaches beta. Under `pairs` a coin says which of two images was trained on,
    so adjacent data sets differ by *replacing one* image; the epsilon of adding or removing one may be half as large.

    It speaks of these m coins and this training run: it is no bound for other records or other runs, never an upper
    bound, and training without noise has no finite epsilon at all.

    Args:
        m: Number of coins (pairs).
        r: Number of guesses, fixed in advance.
        v: Number of right guesses.
        delta: The delta of the claim, in [0, 1).
        beta: Probability of a wrong refutation, in (0, 1).

    Returns:
        The bound, 0.0 if no epsilon is refuted; accurate to 1e-6, rounded down.

    Raises:
        SettingError: Not 0 <= v <= r <= m, or a probability outside its range.

    References:
        Steinke, Nasr and Jagielski 2023 (arXiv 2305.08846), theorem 5.2 and appendix D. Exact.
    """
    at_least_one(m, "m")
    if not 0 <= v <= r <= m:
        raise SettingError(f"v = {v} of r = {r} guesses on m = {m} coins, expected 0 <= v <= r <= m; count them again")
    if not (0 <= delta < 1 and 0 < beta < 1):
        raise SettingError(f"delta is {delta} and beta {beta}, expected [0, 1) and (0, 1); pass probabilities")
    low, high = 0.0, 1.0
    if _chance(m, r, v, delta, low) >= beta:
        return 0.0
    while _chance(m, r, v, delta, high) < beta:
        low, high = high, 2 * high
    while high - low > PRECISION:
        middle = (low + high) / 2
        low, high = (middle, high) if _chance(m, r, v, delta, middle) < beta else (low, middle)
    return low


def _chance(m: int, r: int, v: int, delta: float, epsilon: float) -> float:
    """The bound on the probability of v or more right guesses of r under (epsilon, delta)-DP."""
    if v == 0:
        return 1.0
    q = expit(epsilon)
    i = np.arange(1, v + 1)
    at_most = bdtr(v - 1, r, q)
    window = at_most - np.where(i < v, bdtr(np.maximum(v - i - 1, 0), r, q), 0.0)
    return float(bdtrc(v - 1, r, q) + 2 * m * delta * (window / i).max())
