"""Scores without a network: what the pixels of an image say by themselves, and beside those of the training images."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from invaudit.data import STATISTICS
from invaudit.ood.parts import kth_distance
from invaudit.records.names import PIXEL_NEIGHBOUR, PIXEL_NEIGHBOUR_DISTANCE, PIXEL_PREFIX
from invaudit.similarity import embed_once, make_metric, nearest

Score = Callable[[Tensor], NDArray[np.float64]]
"""From (N, C, H, W) uint8 images to (N,) float64; each depends on its image alone."""
RANGE = (0.001, 0.999)
"""Quantiles of the training images between which a pixel is as usual."""


def border_content(images: Tensor) -> NDArray[np.float64]:
    """Return the mean of each image's outer pixels, a seventh of the shorter side wide and at least one pixel.

    Digits of MNIST sit in a box of 20 within 28, which leaves four pixels on each side.
    """
    height, width = images.shape[2:]
    strip = max(1, round(min(height, width) / 7))
    is_outer = np.ones((height, width), bool)
    is_outer[strip:-strip, strip:-strip] = False
    return images.cpu().numpy()[:, :, is_outer].reshape(len(images), -1).mean(1, dtype=np.float64)


def position_range(train: Tensor) -> Score:
    """Return what gives the mean over pixels of how far each leaves the range of its position in training images.

    Args:
        train: (N, C, H, W) uint8 training images; positions are told apart by channel, too.
    """
    low, high = np.quantile(train.cpu().numpy(), RANGE, axis=0)

    def score(images: Tensor) -> NDArray[np.float64]:
        values = images.cpu().numpy().astype(np.float64)
        return np.abs(values - values.clip(low, high)).reshape(len(images), -1).mean(1)

    return score


def neighbour_distance(train: Tensor) -> Score:
    """Return what gives the Euclidean distance in pixels, in grey levels, to the nearest training image.

    Args:
        train: (N, C, H, W) uint8 training images.
    """
    bank = train.flatten(1).double()

    def score(images: Tensor) -> NDArray[np.float64]:
        return kth_distance(images.flatten(1), bank, 1).cpu().numpy()

    return score


def neighbour_cosine(train: Tensor) -> Score:
    """Return what gives one minus the cosine in pixels to the training image with the largest; 1 for a black image.

    Args:
        train: (N, C, H, W) uint8 training images.
    """
    # Less an all-black reference: the plain cosine.
    cosine = make_metric("cosine", reference=torch.zeros(1, *train.shape[1:]))
    bank = embed_once(_exact_floats(train), cosine)

    def score(images: Tensor) -> NDArray[np.float64]:
        return 1 - nearest(_exact_floats(images), bank, cosine).value[:, 0].numpy()

    return score


def _exact_floats(images: Tensor) -> Tensor:
    """Return uint8 images as floats in [0, 1] up to a scale, which a cosine does not see: 1 / 255 would be rounded."""
    return images.float() / 256


def _unfitted(statistic: Score) -> Callable[[Tensor], Score]:
    return lambda _train: statistic


PIXEL_SCORES: Mapping[str, Callable[[Tensor], Score]] = MappingProxyType(
    {
        **{PIXEL_PREFIX + name: _unfitted(statistic) for name, statistic in STATISTICS.items()},
        PIXEL_PREFIX + "border-content": _unfitted(border_content),
        PIXEL_PREFIX + "position-range": position_range,
        PIXEL_NEIGHBOUR_DISTANCE: neighbour_distance,
        PIXEL_NEIGHBOUR: neighbour_cosine,
    }
)
"""Name of a row -> what makes its score of (N, C, H, W) uint8 training images."""
