"""The atlas: which classes touch and how far apart they are, beside which are confused."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from invaudit.explain.borders import MOST_CLASSES, MOST_PAIRS, Borders, Pair, all_pairs, check_pairs, probabilities
from invaudit.models import Target
from invaudit.runtime.errors import DataError, SettingError


@dataclass(frozen=True, eq=False)
class Confusion:
    """How a network confuses the classes of labelled images.

    Attributes:
        counts: (n, K) int64, images of a class (rows) that are given each output (columns).
        probability: (n, K) float64, mean probability of each output over the images of a class; NaN for a class
            without images. It tells classes apart that a good network never confuses.
    """

    counts: np.ndarray
    probability: np.ndarray

    @property
    def mutual(self) -> np.ndarray:
        """(n, n) float64: share of the images of either class that are given the other one, the mean of both ways.

        NaN for a class without images, and on the diagonal.
        """
        return _both_ways(self.counts / np.where(self.n, self.n, np.nan)[:, None])

    @property
    def mutual_probability(self) -> np.ndarray:
        """(n, n) float64: the same of the mean probabilities."""
        return _both_ways(self.probability)

    @property
    def n(self) -> np.ndarray:
        """(n,) int64, number of images of each class."""
        return self.counts.sum(1)


@dataclass(frozen=True, eq=False)
class Atlas:
    """What is known of each pair of classes; all matrices are symmetric, and NaN stands where nothing is known.

    Attributes:
        tried: (n, n) int64, number of images that were searched for between two classes.
        touches: (n, n) bool, whether an image was found with both level and every other class below.
        distance: (n, n) float64, median distance from the start of the images that reached the border.
        confusion: How the target confuses labelled images; None without any.
    """

    tried: np.ndarray
    touches: np.ndarray
    distance: np.ndarray
    confusion: Confusion | None = None

    @property
    def neighbours(self) -> tuple[Pair, ...]:
        """The pairs with a border, nearest first."""
        known = [pair for pair in all_pairs(len(self.distance)) if np.isfinite(self.distance[pair])]
        return tuple(sorted(known, key=lambda pair: self.distance[pair]))


def atlas_of(borders: Borders, classes: int, confusion: Confusion | None = None) -> Atlas:
    """Gather border images, one or several for each pair in either order, into an atlas.

    Args:
        borders: Of one search: distances of different searches are not alike.
        classes: Number of classes n.
        confusion: How the target confuses labelled images.

    Raises:
        SettingError: A pair of other classes.
    """
    check_pairs([row.pair for row in borders.rows], classes)
    tried = np.zeros((classes, classes), np.int64)
    touches = np.zeros((classes, classes), bool)
    distances: dict[Pair, list[float]] = {}
    for row in borders.rows:
        a, b = row.pair
        for place in ((a, b), (b, a)):
            tried[place] += 1
            touches[place] |= row.touches
            if row.is_reached:
                distances.setdefault(place, []).append(row.distance)
    distance = np.full((classes, classes), np.nan)
    for place, values in distances.items():
        distance[place] = np.median(values)
    return Atlas(tried, touches, distance, confusion)


def confusion_of(target: Target, images: Tensor, labels: Tensor) -> Confusion:
    """Ask a network about labelled images.

    Args:
        target: Is borrowed: frozen, in eval mode, and given back as it was.
        images: (N, C, H, W) in [0, 1].
        labels: (N,) int64 in [0, n).

    Raises:
        DataError: No images, or a label outside its range.
    """
    if not len(labels) or not 0 <= int(labels.min()) <= int(labels.max()) < target.classes:
        raise DataError(f"expected images with labels from 0 to {target.classes - 1}, got {len(labels)} labels")
    told, known = probabilities(target, images), labels.cpu().numpy()
    counts = np.zeros((target.classes, target.outputs), np.int64)
    np.add.at(counts, (known, told.argmax(1)), 1)
    sums = np.zeros(counts.shape)
    np.add.at(sums, known, told)
    n = counts.sum(1)[:, None]
    return Confusion(counts, sums / np.where(n, n, np.nan))


def pairs_to_try(
    classes: int, *, named: Sequence[Pair] = (), confusion: Confusion | None = None, most: int = MOST_PAIRS
) -> tuple[Pair, ...]:
    """Choose the pairs whose borders are searched for.

    Args:
        classes: Number of classes n.
        named: Pairs that a user names; then only these.
        confusion: How the target confuses labelled images, or its inversions where there are none.
        most: Most pairs that are chosen beyond ten classes.

    Returns:
        The named pairs; else all pairs of up to ten classes; else the most confused ones, by mean probability.

    Raises:
        SettingError: A pair that is none; more than ten classes with neither named pairs nor a confusion.
    """
    if named:
        check_pairs(named, classes)
        return tuple(dict.fromkeys(named))
    if classes <= MOST_CLASSES:
        return all_pairs(classes)
    if confusion is None:
        raise SettingError(
            f"{classes} classes have {len(all_pairs(classes)):,} pairs; name some, or give labelled images, by which "
            "the most confused are found"
        )
    return most_confused(confusion, most)


def most_confused(confusion: Confusion, most: int = MOST_PAIRS) -> tuple[Pair, ...]:
    """Return the pairs with the highest mean probability of each other's class, the highest first."""
    mutual = confusion.mutual_probability
    known = [pair for pair in all_pairs(len(mutual)) if np.isfinite(mutual[pair])]
    return tuple(sorted(known, key=lambda pair: (-mutual[pair], pair))[:most])


def _both_ways(shares: np.ndarray) -> np.ndarray:
    """Return the mean (n, n) of a matrix (n, K >= n) and its transpose, without what concerns one class alone."""
    square = shares[:, : len(shares)]
    both = (square + square.T) / 2
    np.fill_diagonal(both, np.nan)
    return both
