"""The interval of an AUROC over test images."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit, ndtri

from invaudit.stats.checks import finite_array
from invaudit.stats.estimate import Estimate

TAIL = 0.025


def auroc_interval(id_scores: ArrayLike, ood_scores: ArrayLike) -> Estimate:
    """Return AUROC with its 95 % interval: DeLong's variance, on the logit scale, or an exact bound where that is 0.

    The variance is that of the placements, V10 (of an OOD image: the share of ID below it) and V01 (of an ID image:
    the share of OOD above it), ties half: var(V10) / n_ood + var(V01) / n_id. The interval speaks of the test images,
    not of training anew.

    Three cases have variance 0, with m the smaller sample and L = 0.025 ** (1 / m). Perfect separation: m disjoint
    pairs would all be in order, which has probability at most AUROC ** m; so AUROC >= L (or <= 1 - L), and no better
    bound exists, since a share 1 - AUROC of the smaller sample may lie beyond the other one. All scores equal: the
    same with the probability of a tie, so L / 2 <= AUROC <= 1 - L / 2. One image on a side: nothing is said.

    Args:
        id_scores: (n_id,) scores of ID images, higher = more OOD.
        ood_scores: (n_ood,) scores of OOD images.

    Returns:
        The estimate; ``n`` counts both sides, and the interval lies in [0, 1] and is never of zero width.

    Raises:
        ShapeError: A side is empty or not one-dimensional.
        SettingError: A score is NaN or infinite.

    References:
        DeLong, DeLong and Clarke-Pearson 1988; logit scale: Qin and Hotilovac 2008. Near 1 the plain scale covers too
        seldom: 80 % against 92 % in a simulation with 50 and 100 images at AUROC 0.995.
    """
    id_sorted = np.sort(finite_array(id_scores, "id_scores"))
    ood_sorted = np.sort(finite_array(ood_scores, "ood_scores"))
    n_id, n_ood = len(id_sorted), len(ood_sorted)
    below = np.searchsorted(id_sorted, ood_sorted, "left") + np.searchsorted(id_sorted, ood_sorted, "right")
    above = 2 * n_ood - np.searchsorted(ood_sorted, id_sorted, "left") - np.searchsorted(ood_sorted, id_sorted, "right")
    value = float(below.sum() / (2 * n_id * n_ood))
    smallest = min(n_id, n_ood)
    bound = TAIL ** (1 / smallest)

    if smallest == 1:
        low, high, method = 0.0, 1.0, "none: one image on a side"
    elif value in (0.0, 1.0):
        low, high = (bound, 1.0) if value == 1.0 else (0.0, 1.0 - bound)
        method = "exact bound for perfect separation"
    elif min(id_sorted[0], ood_sorted[0]) == max(id_sorted[-1], ood_sorted[-1]):
        low, high, method = bound / 2, 1 - bound / 2, "exact bound for equal scores"
    else:
        variance = np.var(below / (2 * n_id), ddof=1) / n_ood + np.var(above / (2 * n_ood), ddof=1) / n_id
        step = ndtri(1 - TAIL) * np.sqrt(variance) / (value * (1 - value))
        low, high = expit(logit(value) - step), expit(logit(value) + step)
        method = "DeLong, logit scale"
    return Estimate(value, float(low), float(high), n_id + n_ood, method)
