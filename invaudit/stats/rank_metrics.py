"""How well a score separates ID from OOD: AUROC, average precision and the two rates at 95 %.

A score is higher for a stranger image. Each metric depends on the scores through their order and their ties only, so
all of them are read from one table: how many ID and how many OOD images have each distinct score.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from invaudit.runtime.errors import SettingError
from invaudit.stats.checks import finite_array

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Ranking:
    """All rank metrics of one detector on one OOD set, as fractions in [0, 1].

    Attributes:
        auroc: Probability that an OOD image scores above an ID image, ties counted half.
        aupr_in: Average precision with ID as the positive class.
        aupr_out: Average precision with OOD as the positive class.
        fpr95: Share of OOD accepted when 95 % of ID is accepted.
        fpr95_id: Share of ID rejected when 95 % of OOD is rejected.
    """

    auroc: float
    aupr_in: float
    aupr_out: float
    fpr95: float
    fpr95_id: float


def ranking(id_scores: ArrayLike, ood_scores: ArrayLike) -> Ranking:
    """Return all rank metrics from one sort.

    Args:
        id_scores: (n_id,) scores of ID images, higher = more OOD.
        ood_scores: (n_ood,) scores of OOD images.

    Returns:
        The metrics.

    Raises:
        ShapeError: A side is empty or not one-dimensional.
        SettingError: A score is NaN or infinite.
    """
    n_id, n_ood = _counts(id_scores, ood_scores)
    return Ranking(
        auroc=_auroc(n_id, n_ood),
        aupr_in=_average_precision(n_id, n_ood),
        aupr_out=_average_precision(n_ood[::-1], n_id[::-1]),
        fpr95=_false_rate(n_id, n_ood),
        fpr95_id=_false_rate(n_ood[::-1], n_id[::-1]),
    )


def auroc(id_scores: ArrayLike, ood_scores: ArrayLike) -> float:
    """Return P(OOD score > ID score) + P(equal) / 2 over all pairs of an ID and an OOD image.

    Args:
        id_scores: (n_id,) scores of ID images, higher = more OOD.
        ood_scores: (n_ood,) scores of OOD images.

    Returns:
        AUROC in [0, 1]; 0.5 for a score that says nothing.

    Raises:
        ShapeError: A side is empty or not one-dimensional.
        SettingError: A score is NaN or infinite.

    References:
        Hanley and McNeil 1982, the Mann-Whitney form.
    """
    return _auroc(*_counts(id_scores, ood_scores))


def aupr(id_scores: ArrayLike, ood_scores: ArrayLike, *, positive: Literal["ood", "id"] = "ood") -> float:
    """Return the step-wise average precision: the sum over distinct thresholds of precision times gain in recall.

    Args:
        id_scores: (n_id,) scores of ID images, higher = more OOD.
        ood_scores: (n_ood,) scores of OOD images.
        positive: The class to be found; for "id" the low scores come first.

    Returns:
        Average precision in (0, 1]; the share of the positive class for a score that says nothing.

    Raises:
        ShapeError: A side is empty or not one-dimensional.
        SettingError: A score is NaN or infinite, or ``positive`` is another word.

    References:
        Davis and Goadrich 2006 on why the points of this curve must not be joined by straight lines.
    """
    n_id, n_ood = _counts(id_scores, ood_scores)
    if positive == "id":
        return _average_precision(n_id, n_ood)
    if positive == "ood":
        return _average_precision(n_ood[::-1], n_id[::-1])
    raise SettingError(f'positive is {positive!r}, expected "ood" or "id"; name the class to be found')


def fpr95(id_scores: ArrayLike, ood_scores: ArrayLike) -> float:
    """Return the share of OOD accepted at the smallest threshold that accepts at least 95 % of ID.

    Args:
        id_scores: (n_id,) scores of ID images, higher = more OOD.
        ood_scores: (n_ood,) scores of OOD images.

    Returns:
        A share in [0, 1]; images tied with the threshold are accepted, and nothing is interpolated.

    Raises:
        ShapeError: A side is empty or not one-dimensional.
        SettingError: A score is NaN or infinite.
    """
    return _false_rate(*_counts(id_scores, ood_scores))


def fpr95_id(id_scores: ArrayLike, ood_scores: ArrayLike) -> float:
    """Return the share of ID rejected at the largest threshold that rejects at least 95 % of OOD.

    Args:
        id_scores: (n_id,) scores of ID images, higher = more OOD.
        ood_scores: (n_ood,) scores of OOD images.

    Returns:
        A share in [0, 1]; images tied with the threshold are rejected, and nothing is interpolated.

    Raises:
        ShapeError: A side is empty or not one-dimensional.
        SettingError: A score is NaN or infinite.
    """
    n_id, n_ood = _counts(id_scores, ood_scores)
    return _false_rate(n_ood[::-1], n_id[::-1])


def _counts(id_scores: ArrayLike, ood_scores: ArrayLike) -> tuple[Counts, Counts]:
    """Return how many ID and OOD images have each distinct score, lowest score first."""
    id_scores, ood_scores = finite_array(id_scores, "id_scores"), finite_array(ood_scores, "ood_scores")
    distinct, place = np.unique(np.concatenate([id_scores, ood_scores]), return_inverse=True)
    n_id = np.bincount(place[: len(id_scores)], minlength=len(distinct))
    return n_id, np.bincount(place[len(id_scores) :], minlength=len(distinct))


def _auroc(n_id: Counts, n_ood: Counts) -> float:
    # Twice the number of pairs won: whole numbers, so that ties cost no rounding.
    won_twice = n_ood @ (2 * np.cumsum(n_id) - n_id)
    return float(won_twice / (2 * n_id.sum() * n_ood.sum()))


def _average_precision(positives: Counts, negatives: Counts) -> float:
    """Average precision when the thresholds are met in the order of the arrays."""
    cumulative = np.cumsum(positives)
    return float(positives @ (cumulative / (cumulative + np.cumsum(negatives))) / cumulative[-1])


def _false_rate(kept: Counts, others: Counts) -> float:
    """Share of ``others`` on the accepted side once at least 95 % of ``kept`` is there."""
    within = np.cumsum(kept)
    # 20 a >= 19 n is a / n >= 0.95 without rounding.
    threshold = np.argmax(20 * within >= 19 * within[-1])
    return float(others[: threshold + 1].sum() / others.sum())
