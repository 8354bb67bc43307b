"""Whether a gallery of inversions shows pictures: a network may be sure of images that show nothing.

A target that gives every image its wanted class says only that the search has reached it. Here the images themselves
are looked at: whether they differ within a class, whether they differ between classes, and whether the target keeps to
its answer under changes that mean nothing. Where there are real images, these say what can be asked for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from invaudit.inversion.diagnostics import SAME_IMAGE, distinct, pair_cosine
from invaudit.runtime.errors import ShapeError

LEAST_DISTINCT = 0.5
"""Share of the images of a class that must differ from its other images, so that they are no copies."""
MOST_ALIKE = 0.65
"""Likeness of images of different classes from which they count as near-equal, where no real images are given.

Real images of eight data sets have 0.02 (CIFAR-10) to 0.50 (chest X-rays); stripes, the same for every class of a
released network, have 0.81.
"""
COSINE_ROOM = 0.03
"""How far the feature cosine of inversions may be over that of the real class whose images are most alike."""
SPREAD_SHARE = 0.5
"""Share of the spread of real images that inversions need. A generator that nobody calls collapsed has 0.66 on digits.
"""
MOST_GAP = 0.4
"""Largest divergence at the first batch norm layer: photographs give up to 0.08, stripes and noise 0.6 and more."""
LEAST_STABLE = 0.45
"""Share of the images that must keep their class under every small change, where no real images are given.

Real images of four networks have 0.76 (CIFAR-10) to 0.97; the stripes have 0.21.
"""
STABLE_SHARE = 0.6
"""Share of the stability of real images that inversions need: 0.76 makes ``LEAST_STABLE``."""
NO_PICTURE = (
    "what the network is sure of here is no picture of a class; try --by pixels, a larger canvas (margin), or more "
    "weight on the objective batch-norm where the network has it"
)
TOO_FEW = "give the objective cosine more weight, which keeps images of a class apart, or more steps"
NAMED = 5
"""Classes that a message names."""
LEAST_SHIFTED = 16
"""Smallest side at which a shift by one pixel is a small change."""
NOISE = 0.03
"""Standard deviation of a small change by noise, about eight of 255 grey levels."""


@dataclass(frozen=True)
class Gallery:
    """What is known of the images of a gallery, or of real images beside it.

    Attributes:
        pixels: For each class the values of its images in [0, 1], (n, pixels), n >= 2.
        features: For each class their features in the target, (n, D); None where they are not known.
        stability: Share of the images that keep their class under all of ``small_changes``; None: not measured.
        statistics_gap: ``invaudit.models.suitability.first_norm_divergence`` of them; None where the target has no
            batch norm, or not measured.
    """

    pixels: Sequence[Tensor]
    features: Sequence[Tensor] | None = None
    stability: float | None = None
    statistics_gap: float | None = None


@dataclass(frozen=True)
class GalleryJudgement:
    """What a gallery shows.

    Attributes:
        outcome: ``uninformative`` (the images say nothing of their classes), ``collapsed`` (those of a class are
            copies, or far more alike than real ones), or None: nothing speaks against it.
        message: What was seen and what to try; empty where there is no outcome.
        distinct: For each class the share of its images that differ from its others.
        copied: The classes whose images are copies.
        alike: Mean likeness of images of different classes, in [-1, 1]: the cosine of their pixels, each image less
            its own mean.
        most_alike: From which likeness classes count as near-equal, here.
        spread: RMS distance of the images of a class to their mean, mean over classes.
        least_spread: The smallest that is in the range of real images; None without them.
        feature_cosine: Mean cosine of features over pairs of a class, mean over classes; None without features.
        most_feature_cosine: The largest that is in the range of real images; None without them.
        reasons: Each thing that speaks against it, in words, the gravest first.
    """

    outcome: Literal["uninformative", "collapsed"] | None
    message: str
    distinct: tuple[float, ...]
    copied: tuple[int, ...]
    alike: float
    most_alike: float
    spread: float
    least_spread: float | None
    feature_cosine: float | None
    most_feature_cosine: float | None
    reasons: tuple[str, ...]

    @property
    def near_equal(self) -> bool:
        """Whether images of different classes are nearly the same."""
        return self.alike > self.most_alike

    @property
    def spread_in_range(self) -> bool | None:
        """Whether images of a class differ as real ones do; None without real images."""
        return None if self.least_spread is None else self.spread >= self.least_spread

    @property
    def cosine_in_range(self) -> bool | None:
        """Whether features of a class differ as those of real images do; None without real images or features."""
        if self.feature_cosine is None or self.most_feature_cosine is None:
            return None
        return self.feature_cosine <= self.most_feature_cosine


def judge_gallery(gallery: Gallery, real: Gallery | None = None) -> GalleryJudgement:
    """Judge a gallery of inversions by what its images show.

    In this order: flat images, classes that look the same, inputs unlike those of the training and answers that do not
    hold are ``uninformative``; copies, and classes more alike than real ones, are ``collapsed``. Images that differ and
    fool the target robustly pass, even noise: only a second network or a person can tell.

    Args:
        gallery: Inversions of two classes or more.
        real: Held-out real images of classes of the target, by which limits are set; without them, limits that real
            images of many data sets keep far away from.

    Raises:
        ShapeError: Fewer than two classes, fewer than two images of a class, or images and features that do not fit.
    """
    for name, one in (("the gallery", gallery), ("the real images", real)):
        if one is not None:
            _check(one, name)
    differing = tuple(distinct(images[None]) for images in gallery.pixels)
    copied = tuple(label for label, share in enumerate(differing) if share < LEAST_DISTINCT)
    alike = likeness_between(gallery.pixels)
    # With real images: halfway from their likeness to that of equal images.
    most_alike = MOST_ALIKE if real is None else (1 + likeness_between(real.pixels)) / 2
    spread = _mean(_spreads(gallery.pixels))
    least_spread = None if real is None else SPREAD_SHARE * _mean(_spreads(real.pixels))
    cosine = None if gallery.features is None else _mean(_cosines(gallery.features))
    most_cosine = None
    if real is not None and real.features is not None:
        most_cosine = max(_cosines(real.features)) + COSINE_ROOM
    empty = list(_empty(gallery, real, alike, most_alike))
    collapsed = list(_collapsed(copied, spread, least_spread, cosine, most_cosine))
    outcome, message = None, ""
    if empty:
        outcome, message = "uninformative", f"{empty[0]}: {NO_PICTURE}"
    elif collapsed:
        outcome, message = "collapsed", f"{collapsed[0]}: {TOO_FEW}"
    return GalleryJudgement(
        outcome=outcome,
        message=message,
        distinct=differing,
        copied=copied,
        alike=alike,
        most_alike=most_alike,
        spread=spread,
        least_spread=least_spread,
        feature_cosine=cosine,
        most_feature_cosine=most_cosine,
        reasons=(*empty, *collapsed),
    )


def _empty(gallery: Gallery, real: Gallery | None, alike: float, most_alike: float) -> Iterator[str]:
    """Yield what says that the images show nothing of their classes."""
    flat = _mean([float((_contrast(images) < SAME_IMAGE).double().mean()) for images in gallery.pixels])
    if flat > 1 - LEAST_DISTINCT:
        yield f"{flat:.0%} of the images are flat"
    if alike > most_alike:
        beside = "" if real is None else f"; real ones {likeness_between(real.pixels):.2f}"
        yield (
            f"images of different classes are nearly the same (likeness {alike:.2f} of 1, limit {most_alike:.2f}"
            f"{beside})"
        )
    gap = gallery.statistics_gap
    if gap is not None and gap > MOST_GAP:
        yield (
            f"at the first batch norm layer the images are unlike those of the training (divergence {gap:.2f}, limit "
            f"{MOST_GAP:g})"
        )
    stable = LEAST_STABLE
    if real is not None and real.stability is not None:
        stable = STABLE_SHARE * real.stability
    if gallery.stability is not None and gallery.stability < stable:
        yield (
            f"{gallery.stability:.0%} of the images keep their class when they are moved by a pixel, mirrored, blurred "
            f"a little or given a little noise (limit {stable:.0%})"
        )


def _collapsed(
    copied: Sequence[int], spread: float, least_spread: float | None, cosine: float | None, most_cosine: float | None
) -> Iterator[str]:
    """Yield what says that the images of a class are too few different ones."""
    if copied:
        names = ", ".join(map(str, copied[:NAMED])) + (", ..." if len(copied) > NAMED else "")
        yield f"images of class {names} are copies of one another"
    if least_spread is not None and spread < least_spread:
        yield (
            f"images of a class are far more alike than real ones (spread {spread:.3f}, real ones "
            f"{least_spread / SPREAD_SHARE:.3f})"
        )
    if cosine is not None and most_cosine is not None and cosine > most_cosine:
        yield (
            f"the network sees less difference between images of a class than between real ones (feature cosine "
            f"{cosine:.2f}, limit {most_cosine:.2f})"
        )


def small_changes(images: Tensor, rng: torch.Generator) -> Iterator[Tensor]:
    """Yield images (N, C, H, W) in [0, 1] changed a little, in ways that leave what a picture shows as it is.

    Moved by one pixel where a side has 16 or more, mirrored where they have colours, blurred a little, with a little
    noise. The share that keeps its class under all of them is the ``stability`` of a ``Gallery``.
    """
    channels, height, width = images.shape[1:]
    padded = functional.pad(images, (1, 1, 1, 1), mode="replicate")
    if min(height, width) >= LEAST_SHIFTED:
        yield padded[:, :, :-2, 1:-1]
        yield padded[:, :, 1:-1, :-2]
    if channels == 3:
        yield images.flip(3)
    line = images.new_tensor([1.0, 6.0, 1.0]) / 8
    yield functional.conv2d(padded, torch.outer(line, line).expand(channels, 1, 3, 3), groups=channels)
    yield (images + NOISE * torch.randn(images.shape, generator=rng).to(images.device)).clamp(0, 1)


def likeness_between(groups: Sequence[Tensor]) -> float:
    """Return the mean cosine over pairs of images of different classes, each image less its own mean.

    Args:
        groups: For each class (n, pixels); each pair of classes counts the same.
    """
    directions = []
    for images in groups:
        pixels = images.double()
        directions.append(functional.normalize(pixels - pixels.mean(1, keepdim=True), dim=1).mean(0))
    means = torch.stack(directions)
    cosines = means @ means.T
    n = len(means)
    return float((cosines.sum() - cosines.diagonal().sum()) / (n * (n - 1)))


def _check(gallery: Gallery, name: str) -> None:
    sizes = [len(images) for images in gallery.pixels]
    if len(sizes) < 2 or min(sizes) < 2:
        raise ShapeError(f"{name} has {sizes} images by class, expected two classes at least, and two images of each")
    if gallery.features is not None and [len(features) for features in gallery.features] != sizes:
        got = [len(features) for features in gallery.features]
        raise ShapeError(f"{name} has features of {got} images by class, expected as many as images, {sizes}")


def _contrast(images: Tensor) -> Tensor:
    """Return the RMS distance (n,) of the pixels of each image to their mean."""
    return images.double().std(1, correction=0)


def _spreads(groups: Sequence[Tensor]) -> list[float]:
    spreads = []
    for images in groups:
        pixels = images.double()
        spreads.append(float((pixels - pixels.mean(0)).square().mean().sqrt()))
    return spreads


def _cosines(groups: Sequence[Tensor]) -> list[float]:
    return [pair_cosine(features[None]) for features in groups]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
