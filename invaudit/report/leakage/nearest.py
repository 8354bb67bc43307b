"""Lists of nearest pool images, read without and with membership."""

from typing import NamedTuple

import numpy as np


class Nearest(NamedTuple):
    """The nearest image of one kind: position in the pool, -1 where the list holds none, and value.

    Where the list holds none, the value is that of the end of the list: the image is at most that similar.
    """

    position: np.ndarray
    value: np.ndarray


def nearest_of(index: np.ndarray, value: np.ndarray, wanted: np.ndarray) -> Nearest:
    """Return the nearest image of one kind for each reconstruction.

    Args:
        index: (R, k) positions in the pool, most similar first.
        value: (R, k) values of the metric.
        wanted: (N,) bool, the kind.
    """
    hit = wanted[index]
    listed, first, rows = hit.any(axis=1), hit.argmax(axis=1), np.arange(len(index))
    column = np.where(listed, first, index.shape[1] - 1)
    return Nearest(np.where(listed, index[rows, first], -1), value[rows, column])


def chosen_rows(
    index: np.ndarray, value: np.ndarray, rng: np.random.Generator, *, n_margin: int = 6, n_random: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the reconstructions to show, blind to membership.

    First those with the largest margin, the most similar pool image against the second, one for each pool image before
    any image comes twice; then some at random among the others.

    Args:
        index: (R, k) positions in the pool, most similar first, k >= 2.
        value: (R, k) values of the metric.
        rng: Draws the random rows.
        n_margin: Rows by margin, at most.
        n_random: Rows at random, at most.

    Returns:
        The rows by margin and the rows at random.
    """
    order = np.argsort(-np.abs(value[:, 0] - value[:, 1]), kind="stable")
    first_sight = np.sort(np.unique(index[order, 0], return_index=True)[1])
    again = np.setdiff1d(np.arange(len(order)), first_sight)
    order = order[np.concatenate([first_sight, again])]
    others = np.sort(order[n_margin:])
    return order[:n_margin], np.sort(rng.choice(others, min(n_random, len(others)), replace=False))
