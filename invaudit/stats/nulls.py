"""What AUROC does when there is nothing to find."""

import math

from scipy.special import ndtri

from invaudit.runtime.errors import SettingError
from invaudit.stats.checks import at_least_one


def null_standard_error(n_id: int, n_ood: int) -> float:
    """Return the standard error of AUROC when both samples come from one continuous distribution.

    With ties it is an upper bound: the variance loses the factor 1 - sum(t ** 3 - t) / (N ** 3 - N) over the sizes t
    of the groups of equal scores.

    Args:
        n_id: Number of ID images.
        n_ood: Number of OOD images.

    Returns:
        sqrt((n_id + n_ood + 1) / (12 n_id n_ood)).

    Raises:
        SettingError: A number below 1.

    References:
        Mann and Whitney 1947.
    """
    at_least_one(n_id, "n_id")
    at_least_one(n_ood, "n_ood")
    return math.sqrt((n_id + n_ood + 1) / (12 * n_id * n_ood))


def control_half_width(n_id: int, n_ood: int, n_rows: int, *, family_wise: float = 0.001) -> float:
    """Return h such that all of n_rows null AUROCs lie in 0.5 +- h with probability of about 1 - family_wise or more.

    A two-sided normal quantile, divided over the rows (Bonferroni), so any dependence between rows is allowed. The
    exact null distribution has lighter tails than the normal one and ties shrink it further: for two halves of one
    set, a band that is too wide rather than too narrow.

    Args:
        n_id: Number of ID images.
        n_ood: Number of images in the place of OOD.
        n_rows: Number of AUROCs that are judged together.
        family_wise: Probability that any of them leaves the band, in (0, 1).

    Returns:
        The half width; above 0.5 where the samples are too small to leave it at all.

    Raises:
        SettingError: A count below 1, or family_wise outside (0, 1).
    """
    at_least_one(n_rows, "n_rows")
    if not 0 < family_wise < 1:
        raise SettingError(f"family_wise is {family_wise}, expected (0, 1); pass the probability of a false alarm")
    return -float(ndtri(family_wise / (2 * n_rows))) * null_standard_error(n_id, n_ood)
