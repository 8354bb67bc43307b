"""Several tests at once."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from invaudit.runtime.errors import SettingError
from invaudit.stats.checks import finite_array


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return p-values adjusted so that rejecting those <= alpha errs anywhere with probability <= alpha.

    With the p-values in rising order, the i-th of m becomes the largest (m - j + 1) p_j over j <= i, at most 1.

    Args:
        p_values: (m,) p-values in [0, 1] of one family, in any order and of any dependence; it may be empty.

    Returns:
        (m,) adjusted p-values in the order given.

    Raises:
        ShapeError: Not one-dimensional.
        SettingError: A value outside [0, 1] or NaN.

    References:
        Holm 1979.
    """
    if np.size(p_values) == 0:
        return np.empty(0)
    p = finite_array(p_values, "p_values")
    if p.min() < 0 or p.max() > 1:
        raise SettingError(f"p_values range from {p.min()} to {p.max()}, expected [0, 1]; pass probabilities")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return adjusted
