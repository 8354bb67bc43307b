"""The blind baseline: can members be told from controls without the target? Then they differ by themselves."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from invaudit.data import STATISTICS
from invaudit.data.image_set import eight_bits
from invaudit.runtime.errors import ShapeError
from invaudit.stats import Design, Pairs, auroc

SIDE = 8
FOLDS = 5
AT_ONCE = 250
"""Relabellings fitted together; bounds the memory of large pools."""


@dataclass(frozen=True, eq=False)
class BlindBaseline:
    """What a classifier that never saw the target makes of a pool.

    Attributes:
        auroc: Of members against controls; 0.60 and more means that they differ by themselves.
        p_value: By relabelling, with the classifier fitted anew under each.
        score: (N,) cross-fitted score, higher = looks more like a member.
    """

    auroc: float
    p_value: float
    score: NDArray[np.float64]


def blind_baseline(images: Tensor, design: Design, rng: np.random.Generator, *, draws: int = 999) -> BlindBaseline:
    """Measure how well a linear classifier tells members from controls by their pixels, without the target.

    Ridge regression of membership on pixels (pooled to at most 8 x 8) and on pixel statistics (brightness, contrast,
    total variation, grey levels, compressed size), within strata, five-fold, the images of a pair or group in one fold.
    Its scores are a linear function of the labels, so fitting it anew under every relabelling is one product. The
    p-value is exact under ``pairs``, and under ``observational`` if labels are exchangeable within strata. A classifier
    that finds nothing does not prove that there is no difference.

    Args:
        images: (N, C, H, W) float32 in [0, 1], the pool.
        design: Who is a member, and what moves together.
        rng: Source of folds and relabellings.
        draws: Number of relabellings.

    Raises:
        ShapeError: The design is of another number of images.

    References:
        Das, Zhang and Tramer, arXiv 2406.16201, for the need of it; ridge as in Hastie et al. 2009, section 3.4.
    """
    if len(images) != len(design):
        raise ShapeError(f"got {len(images)} images and a design of {len(design)}; give the design of this pool")
    # Without the means of a stratum, a mix of classes that differs between members and controls is no shift.
    features, folds = _within(_features(images), design), _folds(design, rng)
    score = _cross_fitted(features, folds, design.member[None], design)[0]
    observed = auroc(score[~design.member], score[design.member])
    reached = 0
    for start in range(0, draws, AT_ONCE):
        labels = design.relabellings(rng, min(AT_ONCE, draws - start))
        scores = _cross_fitted(features, folds, labels, design)
        for relabelled_score, member in zip(scores, labels, strict=True):
            reached += auroc(relabelled_score[~member], relabelled_score[member]) >= observed
    return BlindBaseline(observed, (1 + reached) / (1 + draws), score)


def _features(images: Tensor) -> NDArray[np.float64]:
    """Return (N, D) standardised features; a feature that is the same for all images is left out."""
    sides = min(SIDE, images.shape[2]), min(SIDE, images.shape[3])
    small = functional.adaptive_avg_pool2d(images, sides).flatten(1).numpy()
    levels = eight_bits(images)
    statistics = [np.asarray(statistic(levels)) for statistic in STATISTICS.values()]
    raw = np.concatenate([small.astype(np.float64), np.stack(statistics, 1).astype(np.float64)], 1)
    spread = raw.std(0)
    return ((raw - raw.mean(0)) / np.where(spread > 0, spread, 1))[:, spread > 0]


def _folds(design: Design, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the fold of each image; images of one unit share it."""
    unit = np.unique(design.units, return_inverse=True)[1]
    return (rng.permutation(int(unit.max()) + 1) % FOLDS)[unit]


def _within(values: NDArray[np.float64], design: Design) -> NDArray[np.float64]:
    """Return (N, D) values less the mean of their stratum, where the design has strata."""
    if isinstance(design, Pairs):
        return values
    stratum = np.unique(design.stratum, return_inverse=True)[1]
    sums = np.zeros((stratum.max() + 1, values.shape[1]))
    np.add.at(sums, stratum, values)
    return values - (sums / np.bincount(stratum)[:, None])[stratum]


def _cross_fitted(
    features: NDArray[np.float64], folds: NDArray[np.int64], labels: NDArray[np.bool_], design: Design
) -> NDArray[np.float64]:
    """Return (L, N) scores for each of the labellings (L, N), every image scored by a fit without its own fold."""
    wanted = _within(np.where(labels.T, 1.0, -1.0), design)
    scores = np.empty_like(wanted)
    for fold in np.unique(folds):
        inside = folds == fold
        train = features[~inside]
        # As strong as one standardised feature's worth of data for each feature: tame where there are more features
        # than images, without effect where there are many images.
        normal = train.T @ train + features.shape[1] * np.eye(features.shape[1])
        scores[inside] = features[inside] @ np.linalg.solve(normal, train.T @ wanted[~inside])
    return scores.T
