"""Differences that are paired over seeds."""

from typing import NamedTuple

import pandas as pd
from scipy.stats import sem, t

from invaudit.stats.bootstrap import MIN_SEEDS


class Interval(NamedTuple):
    """A mean over seeds with its 95 % interval; unknown is NaN."""

    value: float
    low: float
    high: float


def paired_difference(values: pd.Series, others: pd.Series) -> Interval:
    """Return the mean of ``values - others`` over seeds, with Student's t interval from five seeds on.

    Args:
        values: One value for each seed, which is the index.
        others: The values that they are compared with, with the same index.
    """
    differences = (values - others).dropna()
    mean = differences.mean()
    if len(differences) < MIN_SEEDS:
        return Interval(mean, float("nan"), float("nan"))
    error = sem(differences)
    if error == 0:  # scipy has no interval of width zero
        return Interval(mean, mean, mean)
    return Interval(mean, *t.interval(0.95, len(differences) - 1, loc=mean, scale=error))
