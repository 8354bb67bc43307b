"""What reconstructions have in common with a pool: nearest images, the test on them, and membership by similarity."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from invaudit.similarity import Embedded, Metric, embed_once, nearest, paired_ssim
from invaudit.similarity.protocol import sign_of
from invaudit.stats import Design, VerdictTest, verdict_test

PAPERS_WINDOW, PAPERS_LIMIT = 3, 0.4
AT_ONCE = 500


@dataclass(frozen=True, eq=False)
class PoolMatches:
    """The nearest pool images of R reconstructions by one metric.

    Attributes:
        index: (R, k) int64 positions in the pool, most similar first.
        value: (R, k) float64 in the metric's own units.
        sign: 1.0 if a higher value is more similar, else -1.0; similarity = sign * value.
    """

    index: NDArray[np.int64]
    value: NDArray[np.float64]
    sign: float

    def test(self, design: Design, rng: np.random.Generator, *, draws: int) -> VerdictTest:
        """Return the verdict test of these reconstructions, see ``invaudit.stats.verdict_test``."""
        return verdict_test(self.index, self.sign * self.value, design, rng, draws=draws)


class Embeddings:
    """Images as metrics compare them: each metric embeds them when it first asks, and never again.

    Args:
        images: (N, C, H, W) in [0, 1].
    """

    def __init__(self, images: Tensor) -> None:
        self.images = images
        self._by_metric: dict[str, Tensor | Embedded] = {}

    def by(self, metric: Metric) -> Tensor | Embedded:
        """Return the images embedded by a metric, or as they are where that would take too much memory."""
        if metric.key not in self._by_metric:
            self._by_metric[metric.key] = embed_once(self.images, metric)
        return self._by_metric[metric.key]


def score_reconstructions(
    images: Tensor | Embedded, pool: Tensor | Embedded, metric: Metric, *, length: int
) -> PoolMatches:
    """Search the nearest pool images of every reconstruction, blind to membership and labels.

    Args:
        images: (R, C, H, W) reconstructions in [0, 1], or what ``embed_once`` made of them.
        pool: (N, C, H, W) members and controls together, likewise.
        metric: From ``invaudit.similarity.make_metric``.
        length: Nearest pool images to keep of each reconstruction (`stats.list_length`); all where there are fewer.

    Returns:
        For each reconstruction its nearest pool images, nearest first, and how similar they are.
    """
    neighbours = nearest(images, pool, metric, min(length, len(pool)))
    return PoolMatches(neighbours.index.numpy(), neighbours.value.numpy(), sign_of(metric.better))


def best_similarity(
    images: Tensor | Embedded,
    labels: Tensor,
    restart: Tensor,
    pool: Tensor | Embedded,
    pool_labels: Tensor,
    metric: Metric,
) -> Tensor:
    """Return a membership score of every pool image: its similarity to the nearest reconstruction of its class.

    The mean over restarts. Every restart must hold reconstructions of every class of the pool; reconstructions whose
    label is not known (-1) count for every class.

    Args:
        images: (R, C, H, W) reconstructions in [0, 1], or what ``embed_once`` made of them.
        labels: (R,) their classes, or -1.
        restart: (R,) the restart each comes from.
        pool: (N, C, H, W) pool images, likewise.
        pool_labels: (N,) classes.
        metric: From ``invaudit.similarity.make_metric``.

    Returns:
        (N,) float64, higher = more similar.
    """
    scores = torch.zeros(len(pool), dtype=torch.float64)
    restarts = restart.unique()
    for label in pool_labels.unique():
        of_class = pool_labels == label
        for turn in restarts:
            candidates = (restart == turn) & ((labels == label) | (labels < 0))
            neighbours = nearest(pool[of_class], images[candidates], metric, 1)
            scores[of_class] += sign_of(metric.better) * neighbours.value[:, 0]
    return scores / len(restarts)


def nearest_reconstructions(
    images: Tensor | Embedded, labels: Tensor, pool: Tensor | Embedded, pool_labels: Tensor, metric: Metric
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the nearest reconstruction of each pool image among those of its class, over all restarts.

    Args:
        images: (R, C, H, W) reconstructions in [0, 1], or what ``embed_once`` made of them.
        labels: (R,) their classes, or -1 for every class.
        pool: (N, C, H, W) pool images, likewise.
        pool_labels: (N,) classes.
        metric: From ``invaudit.similarity.make_metric``.

    Returns:
        (N,) positions, -1 where there is no reconstruction of the class; and (N,) values in the metric's own units.
    """
    index, value = np.full(len(pool), -1), np.full(len(pool), np.nan)
    for label in pool_labels.unique():
        of_class = torch.nonzero(pool_labels == label)[:, 0]
        candidates = torch.nonzero((labels == label) | (labels < 0))[:, 0]
        if len(candidates):
            found = nearest(pool[of_class], images[candidates], metric, 1)
            index[of_class.numpy()] = candidates[found.index[:, 0]].numpy()
            value[of_class.numpy()] = found.value[:, 0].numpy()
    return index, value


def papers_count(images: Tensor, pool: Tensor) -> Tensor:
    """Return (N,) bool, whether the KKT papers would count a pool image as reconstructed; no evidence of anything.

    They pair every training image with the reconstruction of the largest normalised cross-correlation (each image
    standardised per channel), stretch that one to [0, 1], and count the pair if its SSIM with a window of 3 (borders
    reflected) is above 0.4. Other images of handwritten digits pass that nearly always, so the count on controls
    belongs beside the one on members.

    Args:
        images: (R, C, H, W) reconstructions in [0, 1], R >= 1, H and W >= 2.
        pool: (N, C, H, W) in [0, 1].

    References:
        The published evaluation of Haim et al. (arXiv 2206.07758) and Buzaglo et al. (arXiv 2307.01827).
    """
    standard = _standardised(images)
    best = torch.cat([(_standardised(part) @ standard.T).argmax(1) for part in pool.split(AT_ONCE)])
    low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    stretched = (images - low) / (high - low).clamp_min(1e-12)
    similarities = []
    for part, partners in zip(pool.split(AT_ONCE), best.split(AT_ONCE), strict=True):
        similarities.append(paired_ssim(_bordered(part), _bordered(stretched[partners]), PAPERS_WINDOW))
    return torch.cat(similarities) > PAPERS_LIMIT


def _bordered(images: Tensor) -> Tensor:
    return functional.pad(images, (1, 1, 1, 1), mode="reflect")


def _standardised(images: Tensor) -> Tensor:
    """Return (N, C H W) images with mean 0 and length 1 in each channel."""
    centred = images.double() - images.double().mean((2, 3), keepdim=True)
    return (centred / centred.flatten(2).norm(dim=2)[..., None, None].clamp_min(1e-12)).flatten(1)
