"""Pixel statistics: scores that need no network, used to mark OOD sets that are trivial."""

import zlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def mean(images: Tensor) -> NDArray[np.float64]:
    """Return the mean of each image's values."""
    return _rows(images).mean(1)


def variance(images: Tensor) -> NDArray[np.float64]:
    """Return the variance of each image's values (over pixels and channels)."""
    return _rows(images).var(1)


def total_variation(images: Tensor) -> NDArray[np.float64]:
    """Return the mean absolute difference of neighbours, down plus across, of each image."""
    values = images.cpu().numpy().astype(np.float64)
    down, across = np.abs(np.diff(values, axis=2)), np.abs(np.diff(values, axis=3))
    return down.mean((1, 2, 3)) + across.mean((1, 2, 3))


def grey_levels(images: Tensor) -> NDArray[np.float64]:
    """Return the number of distinct values in each image."""
    ordered = np.sort(images.cpu().numpy().reshape(len(images), -1), axis=1)
    return 1.0 + (np.diff(ordered, axis=1) != 0).sum(1)


def compressed_size(images: Tensor) -> NDArray[np.float64]:
    """Return the number of bytes of each image after zlib at level 6."""
    sizes = []
    for image in images.cpu().contiguous().numpy():
        sizes.append(len(zlib.compress(image.tobytes(), 6)))
    return np.array(sizes, np.float64)


def _rows(images: Tensor) -> NDArray[np.float64]:
    return images.cpu().numpy().reshape(len(images), -1).astype(np.float64)


STATISTICS: dict[str, Callable[[Tensor], NDArray[np.float64]]] = {
    "mean": mean,
    "variance": variance,
    "total-variation": total_variation,
    "grey-levels": grey_levels,
    "compressed-size": compressed_size,
}
"""Name -> statistic of (N, C, H, W) uint8 images, giving (N,) float64."""
