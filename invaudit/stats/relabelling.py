"""The two statistics of the verdict test under many labellings, from lists of nearest pool images.

Of a reconstruction only its nearest member and its nearest control matter. One of them is the first entry of its list,
the other is the first entry with another label, so their difference is a gap between two entries of the list.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from invaudit.runtime.errors import SettingError, ShapeError
from invaudit.stats.checks import finite_array

CHUNK = 2**19  # differences handled at a time: a few megabytes
LIST = 64
"""Fewest units of the pool in a list: enough for a balanced pool, but for a probability of 2 ** -63."""
DOUBT = 1e-6
"""Probability, over all lists and relabellings of a test, with which one may end before both labels have appeared."""
TIE = 1e-12  # of the largest value: sums that are equal but for rounding are ties


class ShortListError(ShapeError):
    """A list of nearest pool images ends before both labels have appeared under some relabelling."""


def list_length(member: NDArray[np.bool_], n_lists: int, draws: int, *, together: int = 1) -> int:
    """Return how many nearest pool images to keep of each reconstruction, so that hardly any list ends too early.

    Where labels are spread otherwise than over the pool as a whole, one may: then take the whole pool.

    Args:
        member: (N,) members of the pool.
        n_lists: Number of reconstructions.
        draws: Number of relabellings.
        together: Largest number of pool images whose labels move together: all of them may come first in a list.
    """
    share = max(member.mean(), 1 - member.mean())
    units = LIST if share <= 0.5 else math.ceil(math.log(DOUBT / (n_lists * draws)) / math.log(share))
    return min(len(member), together * max(LIST, units))


@dataclass(frozen=True, eq=False)
class NearestLists:
    """The nearest pool images of each reconstruction, most similar first.

    Attributes:
        index: (R, k) int positions in the pool.
        similarity: (R, k) similarity to them.
        n_pool: Number of pool images N.
    """

    index: NDArray[np.int64]
    similarity: NDArray[np.float64]
    n_pool: int

    @classmethod
    def of(cls, index: ArrayLike, similarity: ArrayLike, n_pool: int) -> Self:
        """Check lists and bring them into this form.

        Args:
            index: (R, k) int positions in the pool, each at most once per row.
            similarity: (R, k) similarity to them, not rising along a row.
            n_pool: Number of pool images.

        Raises:
            ShapeError: Arrays of other shapes.
            SettingError: A position outside the pool or twice in a row, a similarity that rises or is not finite.
        """
        values = finite_array(similarity, "similarity", ndim=2)
        places = np.asarray(index)
        if places.shape != values.shape or places.dtype.kind not in "iu":
            raise ShapeError(
                f"index is {places.dtype} of shape {places.shape}, expected integers of shape {values.shape} as "
                "similarity; pass the nearest pool images of each reconstruction"
            )
        places = places.astype(np.int64)
        if places.min() < 0 or places.max() >= n_pool:
            raise SettingError(
                f"index ranges from {places.min()} to {places.max()}, expected 0 to {n_pool - 1}; pass positions in "
                "the pool that the design describes"
            )
        if (np.diff(np.sort(places, axis=1), axis=1) == 0).any():
            raise SettingError("index names a pool image twice for one reconstruction; pass each at most once")
        if (np.diff(values, axis=1) > 0).any():
            raise SettingError(
                "similarity rises along a row, expected the most similar first; for a distance pass minus the distance"
            )
        return cls(places, values, n_pool)

    @cached_property
    def _gap(self) -> NDArray[np.float64]:
        return self.similarity[:, :1] - self.similarity

    def differences(self, labels: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return similarity to the nearest member minus that to the nearest control.

        Args:
            labels: (B, N) members under each labelling.

        Returns:
            (B, R) differences.

        Raises:
            ShortListError: A list that ends before both labels have appeared.
        """
        n_lists, k = self.index.shape
        first = labels.take(self.index[:, 0], axis=1)
        gaps = np.zeros(first.shape)
        waiting = np.arange(first.size)
        if k > 1:
            other = labels.take(self.index[:, 1], axis=1) != first
            np.copyto(gaps, self._gap[:, 1], where=other)
            waiting = np.flatnonzero(~other)
        # Half of them are left after each column, so from here on they are picked one by one.
        for column in range(2, k):
            draw, row = np.divmod(waiting, n_lists)
            other = labels[draw, self.index[row, column]] != first.reshape(-1)[waiting]
            gaps.reshape(-1)[waiting[other]] = self._gap[row[other], column]
            waiting = waiting[~other]
            if not len(waiting):
                break
        if len(waiting):
            raise ShortListError(
                f"a reconstruction's {k} nearest pool images have one label under some labelling, so its nearest "
                f"image of the other label is unknown; pass longer lists: k = {min(self.n_pool, 4 * k)}, or the whole "
                f"pool, k = {self.n_pool}, which is always enough"
            )
        return np.where(first, gaps, -gaps)


def restricted_lists(
    index: NDArray[np.int64], similarity: NDArray[np.float64], kept: NDArray[np.int64], n_pool: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the lists of a part of the pool, as long as the shortest of them.

    Args:
        index: (R, k) positions in the pool, most similar first.
        similarity: (R, k) similarities.
        kept: (M,) positions of the part; its images are numbered in this order.
        n_pool: Number of pool images N.

    Raises:
        ShortListError: A list holds no image of the part.
    """
    number = np.full(n_pool, -1)
    number[kept] = np.arange(len(kept))
    inside = number[index] >= 0
    length = int(inside.sum(axis=1).min())
    if not length:
        raise ShortListError("a list holds no image of this part of the pool; pass longer lists, or the whole pool")
    # A stable sort brings the images of the part to the front and keeps their order.
    first = np.argsort(~inside, axis=1, kind="stable")[:, :length]
    return number[np.take_along_axis(index, first, axis=1)], np.take_along_axis(similarity, first, axis=1)


def nearest_lists(similarity: ArrayLike, k: int | None = None) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the lists that the verdict test reads, from all similarities.

    Args:
        similarity: (R, N) similarity of each reconstruction to each pool image; higher = more similar.
        k: Length of the lists; None: the whole pool.

    Returns:
        (R, k) positions, most similar first, ties by position; and (R, k) similarities.

    Raises:
        ShapeError: Empty or not two-dimensional.
        SettingError: A similarity is NaN or infinite.
    """
    values = finite_array(similarity, "similarity", ndim=2)
    index = np.argsort(-values, axis=1, kind="stable")[:, :k]
    return index, np.take_along_axis(values, index, axis=1)


def top_count(n_reconstructions: int) -> int:
    """Return K, the size of the largest twentieth: max(5, ceil(R / 20)), or all if there are fewer."""
    return min(n_reconstructions, max(5, -(-n_reconstructions // 20)))


def totals(differences: NDArray[np.floating], k: int) -> NDArray[np.float64]:
    """Return (2, B): the sum of all differences of each row, and of its k largest."""
    largest = np.partition(differences, -k, axis=1)[:, -k:]
    return np.stack([differences.sum(axis=1, dtype=np.float64), largest.sum(axis=1, dtype=np.float64)])


def chunks(draws: int, width: int) -> Iterator[int]:
    """Split a number of draws so that one part has about ``CHUNK`` values of this width."""
    step = max(1, CHUNK // width)
    for start in range(0, draws, step):
        yield min(step, draws - start)


def upper_p(statistics: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return, for each value of each row, the share of values of the row that are as large or larger, itself included.

    With the observed value in the row that is (1 + #{T* >= T}) / (1 + B); ties count against a finding.

    References:
        Phipson and Smyth 2010.
    """
    p = np.empty_like(statistics)
    for row, values in zip(p, statistics, strict=True):
        bound = values - TIE * np.abs(values).max()
        row[:] = (len(values) - np.searchsorted(np.sort(values), bound, side="left")) / len(values)
    return p


def min_p(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (B,) p-values of the smaller of the p-values of each column of (S, B), within the same draws.

    References:
        Westfall and Young 1993, section 2.3 (min-p, one step).
    """
    return upper_p(-p_values.min(axis=0, keepdims=True))[0]
