"""A membership score without reference models: how much surer a target is of an image than of unseen ones like it.

Some images are easy for every network. What the target answers for images that it never saw, as a function of what they
look like, says how sure it would be of an image without having been trained on it.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional

from invaudit.leakage.blind import pixel_features
from invaudit.runtime.errors import SettingError, ShapeError
from invaudit.stats.checks import finite_array

FEWEST_UNSEEN = 100
"""Unseen images that the regression takes at least."""
QUANTILES = (0.16, 0.5, 0.84)
"""The median, and what lies a standard deviation from it in a Gaussian."""
LEAST_SPREAD = 0.1
"""Of the median spread: the least that the spread of one image is taken to be."""
SETTINGS: dict[str, Any] = {
    "max_iter": 30,
    "learning_rate": 0.1,
    "max_leaf_nodes": 8,
    "min_samples_leaf": 20,
    "early_stopping": False,
}
"""Of the regression: few small trees, since there are often few hundred unseen images. On six digits networks of 100
members, 100 trees made the score worse than the loss with 400 unseen images."""


def quantile_score(
    target: ArrayLike, features: ArrayLike, unseen: ArrayLike, unseen_features: ArrayLike, *, seed: int = 0
) -> NDArray[np.float64]:
    """Return how far the target's answer lies above what is predicted for an unseen image that looks the same.

    Gradient-boosted trees predict three quantiles of the log-odds of unseen images from their features; the score is
    the distance from the median in units of half the distance between the outer two. The paper fits a
    quantile for each false-positive rate, or a Gaussian, by a network; one scale does for a score.

    Args:
        target: (N,) log-odds that the target gives the class of each image.
        features: (N, D) what the images look like and their class; nothing that comes from the target.
        unseen: (M,) log-odds that it gives the class of images of the same source that it was not trained on.
        unseen_features: (M, D) the same of these.
        seed: Seed of the regression.

    Returns:
        (N,) score, higher = more likely a member.

    Raises:
        ShapeError: Arrays that do not fit each other.
        SettingError: A value that is not finite, or fewer than 100 unseen images.

    References:
        Bertran et al. 2023 (arXiv 2307.03694).
    """
    from sklearn.ensemble import HistGradientBoostingRegressor  # takes long to import

    answers, known = finite_array(target, "target"), finite_array(unseen, "unseen")
    seen_as, known_as = (
        finite_array(features, "features", ndim=2),
        finite_array(unseen_features, "unseen_features", ndim=2),
    )
    if len(known) < FEWEST_UNSEEN:
        raise SettingError(f"{len(known)} unseen images, expected at least {FEWEST_UNSEEN}; give more of them")
    expected = (len(answers), seen_as.shape[1]), (len(known), seen_as.shape[1])
    if (seen_as.shape, known_as.shape) != expected:
        raise ShapeError(
            f"features have shape {seen_as.shape} and {known_as.shape}, expected {expected[0]} and {expected[1]}"
        )
    predicted = []
    for quantile in QUANTILES:
        regression = HistGradientBoostingRegressor(loss="quantile", quantile=quantile, random_state=seed, **SETTINGS)
        predicted.append(regression.fit(known_as, known).predict(seen_as))
    low, middle, high = predicted
    spread = np.maximum(high - low, 0) / 2
    least = LEAST_SPREAD * np.median(spread) or 1.0
    return (answers - middle) / np.maximum(spread, least)


def image_features(images: Tensor, labels: Tensor, classes: int) -> NDArray[np.float64]:
    """Return what images look like, and their class, for ``quantile_score``: (N, D).

    Args:
        images: (N, C, H, W) float32 in [0, 1].
        labels: (N,) int64 in [0, classes).
        classes: Number of classes.
    """
    return np.concatenate([pixel_features(images), functional.one_hot(labels, classes).double().numpy()], 1)
