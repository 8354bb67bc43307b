"""Split-conformal p-values and thresholds for one image.

The calibration images must be exchangeable with the ID images to come, and must have had no part in training, in
fitting the detector or in choosing anything. The guarantee is marginal: on average over calibration sets.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from invaudit.runtime.errors import SettingError
from invaudit.stats.checks import finite_array


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

    Source: Vovk, Gammerman and Shafer 2005; Bates, Candes, Lei, Romano and Sesia 2023.
    """
    sorted_calibration = np.sort(finite_array(calibration, "calibration"))
    n = len(sorted_calibration)
    at_least = n - np.searchsorted(sorted_calibration, finite_array(scores, "scores"), side="left")
    return (1 + at_least) / (n + 1)


def conformal_threshold(calibration: ArrayLike, alpha: float) -> float:
    """Return t such that rejecting scores > t gives a false-alarm rate of at most alpha.

    t is the k-th smallest calibration score, k = ceil((1 - alpha) (n + 1)); a score is above it exactly if its
    conformal p-value is <= alpha.

    Args:
        calibration: (n,) scores of held-out ID images.
        alpha: Highest false-alarm rate, in [1 / (n + 1), 1).

    Returns:
        The threshold.

    Raises:
        ShapeError: Empty or not one-dimensional.
        SettingError: A score is NaN or infinite, or alpha lies outside its range.

    Source: as `conformal_p_values`.
    """
    sorted_calibration = np.sort(finite_array(calibration, "calibration"))
    n = len(sorted_calibration)
    if not 1 / (n + 1) <= alpha < 1:
        raise SettingError(
            f"alpha is {alpha}, expected [{1 / (n + 1):.3g}, 1): no p-value from n = {n} calibration images is below "
            "1 / (n + 1), so a smaller alpha would reject nothing; add calibration images or raise alpha"
        )
    # The number of attainable p-values <= alpha, which floor(alpha (n + 1)) misses by rounding (0.29 of 100 gives 28).
    rejected = np.searchsorted(np.arange(1, n + 1) / (n + 1), alpha, side="right")
    return float(sorted_calibration[n - rejected])
