"""The blind baseline of a pool of images: what is read off the pixels, without the target."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from invaudit.data import STATISTICS
from invaudit.data.image_set import eight_bits
from invaudit.stats import BlindBaseline, Design, blind_test

SIDE = 8


def blind_baseline(images: Tensor, design: Design, rng: np.random.Generator, *, draws: int = 999) -> BlindBaseline:
    """Test whether a classifier tells members from controls by their pixels, without the target (`blind_test`).

    It sees the pixels (pooled to at most 8 x 8) and pixel statistics (brightness, contrast, total variation, grey
    levels, compressed size).

    Args:
        images: (N, C, H, W) float32 in [0, 1], the pool.
        design: Who is a member, and what moves together.
        rng: Source of folds and relabellings.
        draws: Number of relabellings.

    Raises:
        ShapeError: The design is of another number of images.
    """
    return blind_test(pixel_features(images), design, rng, draws=draws)


def pixel_features(images: Tensor) -> NDArray[np.float64]:
    """Return (N, D) features of images (N, C, H, W) in [0, 1]: pooled pixels, then pixel statistics."""
    sides = min(SIDE, images.shape[2]), min(SIDE, images.shape[3])
    small = functional.adaptive_avg_pool2d(images, sides).flatten(1).numpy()
    levels = eight_bits(images)
    statistics = [np.asarray(statistic(levels)) for statistic in STATISTICS.values()]
    return np.concatenate([small.astype(np.float64), np.stack(statistics, 1).astype(np.float64)], 1)
