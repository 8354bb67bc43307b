"""How alike the images of a class are: the mean over pairs of one class, with an interval over images."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from invaudit.data.image_set import evenly_spread
from invaudit.runtime.errors import DataError
from invaudit.similarity import Metric, pairwise
from invaudit.stats import Estimate, percentile_interval, resample_images

FEWEST = 5
"""Images of a class at least: with fewer, an interval would rest on a handful of pairs."""

Matrix = NDArray[np.float64]


def mean_within(likenesses: Sequence[Matrix], rng: np.random.Generator) -> Estimate:
    """Return the mean over pairs of different images of a class, mean over classes.

    Pairs share images, so images are drawn anew for the interval, within each class; a pair of two copies of one image
    counts in no draw.

    Args:
        likenesses: For each class (n, n), n >= 2: how alike each two of its images are, symmetric; whatever stands on
            the diagonal is not read.
        rng: Source of the resamples.
    """
    values, draws = [], []
    for likeness in likenesses:
        off_diagonal = likeness.copy()
        np.fill_diagonal(off_diagonal, 0.0)
        n = len(likeness)
        value = off_diagonal.sum() / (n * (n - 1))
        counts = resample_images(n, rng).astype(np.float64)
        pairs = n * n - np.square(counts).sum(0)
        sums = (counts * (off_diagonal @ counts)).sum(0)
        # A resample that holds one image alone has no pair, and says nothing.
        draws.append(np.divide(sums, pairs, out=np.full_like(sums, value), where=pairs > 0))
        values.append(value)
    n_images = sum(map(len, likenesses))
    return percentile_interval(np.mean(draws, axis=0), value=float(np.mean(values)), n=n_images)


def cosines(rows: Tensor) -> Matrix:
    """Return the cosine of each two rows of (n, D), as (n, n) float64."""
    directions = functional.normalize(rows.double().flatten(1), dim=1)
    return (directions @ directions.T).numpy()


def metric_values(images: Tensor, metric: Metric) -> Matrix:
    """Return the value of a metric for each two of n images (n, C, H, W) in [0, 1], in its own units."""
    return pairwise(images, images, metric).numpy()


def positions_by_class(labels: Tensor, wanted: Sequence[int], most: int) -> list[Tensor]:
    """Return where the images of each wanted class are, at most so many of each, evenly spread.

    Raises:
        DataError: A wanted class has fewer than ``FEWEST`` images.
    """
    groups = []
    for label in wanted:
        members = (labels == label).nonzero()[:, 0]
        if len(members) < FEWEST:
            raise DataError(f"class {label} has {len(members)} images, expected at least {FEWEST}; give more of it")
        groups.append(members[evenly_spread(len(members), most)])
    return groups
