"""Split-conformal p-values and thresholds for one image.

The calibration images must be exchangeable with the ID images to come, and must have had no part in training, in
fitting the detector or in choosing anything. Without delta the guarantee is marginal: on average over calibration sets,
so that the rate of one set may lie above alpha. With delta it holds for all but a share delta of calibration sets.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, betaln, gammaln

from invaudit.runtime.errors import SettingError
from invaudit.stats.checks import at_least_one, finite_array


def conformal_p_values(scores: ArrayLike, calibration: ArrayLike) -> NDArray[np.float64]:
    """Return p = (1 + number of calibration scores >= s) / (n + 1) of each score s.

    For an ID image P(p <= alpha) <= alpha, with ties too.

    Args:
        scores: (N,) scores to judge, higher = more OOD.
        calibration: (n,) scores of held-out ID images.

    Returns:
        (N,) p-values in [1 / (n + 1), 1].

    Raises:
        ShapeError: Empty or not one-dimensional.
        SettingError: A score is NaN or infinite.

    References:
        Vovk, Gammerman and Shafer 2005; Bates, Candes, Lei, Romano and Sesia 2023.
    """
    sorted_calibration = np.sort(finite_array(calibration, "calibration"))
    n = len(sorted_calibration)
    at_least = n - np.searchsorted(sorted_calibration, finite_array(scores, "scores"), side="left")
    return (1 + at_least) / (n + 1)


def conformal_threshold(calibration: ArrayLike, alpha: float, delta: float | None = None) -> float:
    """Return t such that rejecting scores > t gives a false-alarm rate of at most alpha.

    t is the k-th smallest calibration score. Without delta, k = ceil((1 - alpha) (n + 1)): the rate is at most alpha on
    average over calibration sets, and a score is above t exactly if its conformal p-value is <= alpha. With delta, k is
    the smallest for which a Beta(n - k + 1, k) variable, the rate given the calibration set where scores do not tie, is
    at most alpha with a probability of at least 1 - delta; ties make the rate smaller.

    Args:
        calibration: (n,) scores of held-out ID images.
        alpha: Highest false-alarm rate, in [1 / (n + 1), 1); with delta at least 1 - delta ** (1 / n).
        delta: Share of calibration sets for which the rate may be higher, in (0, 1); None: the rate holds on average.

    Returns:
        The threshold.

    Raises:
        ShapeError: Empty or not one-dimensional.
        SettingError: A score is NaN or infinite, or alpha or delta lies outside its range.

    References:
        As `conformal_p_values`; with delta Vovk 2012, proposition 2a, which is Wilks 1941.
    """
    sorted_calibration = np.sort(finite_array(calibration, "calibration"))
    n = len(sorted_calibration)
    return float(sorted_calibration[_rank(n, alpha, delta) - 1])


def false_alarm_band(
    n_calibration: int, n_held_out: int, alpha: float, delta: float | None = None, *, level: float = 0.999
) -> tuple[float, float]:
    """Return the band in which the share of false alarms among held-out ID images should lie.

    With the threshold of ``conformal_threshold``, scores that do not tie and both sets drawn from one source, the
    number of false alarms among m images is beta-binomial: m, n - k + 1, k.

    Args:
        n_calibration: Number n of calibration images.
        n_held_out: Number m of held-out ID images.
        alpha: Asked-for false-alarm rate.
        delta: As the threshold's.
        level: Probability that the share lies inside, equal tails outside.

    Returns:
        Lowest and highest share.

    Raises:
        SettingError: A number below 1, an alpha or delta that so many calibration images cannot keep, or level outside
            (0, 1).

    References:
        Vovk 2012, proposition 2a; Angelopoulos and Bates 2021, section 3.2.
    """
    at_least_one(n_calibration, "n_calibration")
    at_least_one(n_held_out, "n_held_out")
    if not 0 < level < 1:
        raise SettingError(f"level is {level}, expected (0, 1); pass the probability of the band")
    k = _rank(n_calibration, alpha, delta)
    a, b, m = n_calibration - k + 1, k, n_held_out
    count = np.arange(m + 1)
    choose = gammaln(m + 1) - gammaln(count + 1) - gammaln(m - count + 1)
    below = np.exp(choose + betaln(count + a, m - count + b) - betaln(a, b)).cumsum()
    tail = (1 - level) / 2
    low, high = np.searchsorted(below, tail, side="right"), np.searchsorted(below, 1 - tail, side="left")
    return float(low / m), float(min(high, m) / m)


def _rank(n: int, alpha: float, delta: float | None) -> int:
    return _average_rank(n, alpha) if delta is None else _sure_rank(n, alpha, delta)


def _average_rank(n: int, alpha: float) -> int:
    if not 1 / (n + 1) <= alpha < 1:
        raise SettingError(
            f"alpha is {alpha}, expected [{1 / (n + 1):.3g}, 1): no p-value from n = {n} calibration images is below "
            "1 / (n + 1), so a smaller alpha would reject nothing; add calibration images or raise alpha"
        )
    # The number of attainable p-values <= alpha, which floor(alpha (n + 1)) misses by rounding (0.29 of 100 gives 28).
    return n - int(np.searchsorted(np.arange(1, n + 1) / (n + 1), alpha, side="right")) + 1


def _sure_rank(n: int, alpha: float, delta: float) -> int:
    if not 0 < delta < 1:
        raise SettingError(f"delta is {delta}, expected (0, 1): the share of calibration sets that may fail")
    # With one more unit in the last place, so that an alpha equal to the smallest one is not refused.
    least = 1 - delta ** (1 / n)
    if not least * (1 - 1e-12) <= alpha < 1:
        raise SettingError(
            f"alpha is {alpha}, expected [{least:.3g}, 1): with n = {n} calibration images not even the largest score "
            f"keeps a smaller rate with probability {1 - delta:g}; add calibration images, or raise alpha or delta"
        )
    ranks = np.arange(1, n + 1)
    return 1 + int(np.argmax(betainc(n - ranks + 1, ranks, alpha) >= (1 - delta) * (1 - 1e-9)))
