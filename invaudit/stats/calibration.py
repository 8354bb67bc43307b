"""Does a network's confidence mean what it says?"""

import numpy as np
from numpy.typing import ArrayLike

from invaudit.runtime.errors import SettingError, ShapeError
from invaudit.stats.checks import at_least_one, finite_array


def expected_calibration_error(confidence: ArrayLike, correct: ArrayLike, *, n_bins: int = 15) -> float:
    """Return the mean gap between confidence and accuracy over bins of equal width, weighted by their counts.

    Args:
        confidence: (N,) probability of the predicted class, in [0, 1].
        correct: (N,) whether the prediction was right (0 or 1).
        n_bins: Number of bins (k / n_bins, (k + 1) / n_bins]; 0 goes to the first.

    Returns:
        A gap in [0, 1].

    Raises:
        ShapeError: Empty, or the two differ in length.
        SettingError: A value outside its range.

    References:
        Guo, Pleiss, Sun and Weinberger 2017, Eq. 3.
    """
    p, hit = finite_array(confidence, "confidence"), finite_array(correct, "correct")
    at_least_one(n_bins, "n_bins")
    if p.shape != hit.shape:
        raise ShapeError(f"correct has shape {hit.shape}, expected {p.shape} as confidence; pass one value per image")
    if p.min() < 0 or p.max() > 1:
        raise SettingError(f"confidence ranges from {p.min()} to {p.max()}, expected [0, 1]; pass probabilities")
    if not np.isin(hit, (0, 1)).all():
        raise SettingError("correct holds values other than 0 and 1; pass whether each prediction was right")
    bins = np.searchsorted(np.arange(1, n_bins) / n_bins, p, side="left")
    return float(np.abs(np.bincount(bins, weights=p - hit)).sum() / len(p))
