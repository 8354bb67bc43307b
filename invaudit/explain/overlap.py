"""Precision, recall, density and coverage: do images lie where real ones lie, and do they reach all of these places?

The places are balls in a space of features: around each image of a set, up to its k-th nearest other image of the set.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from invaudit.runtime.errors import SettingError, ShapeError
from invaudit.stats import Estimate, counted_share, percentile_interval, resample_images

NEIGHBOURS = 5
"""k of Naeem et al. 2020, section 4: the smallest at which equal distributions give a coverage over 0.95."""
ROWS = 512
"""Images whose distances to all others are held at once."""


@dataclass(frozen=True)
class Overlap:
    """How images lie among reference images.

    Attributes:
        precision: Share of the images that lie in the ball of some reference image.
        recall: Share of the reference images that lie in the ball of some image.
        density: Mean over images of the number of reference balls that hold them, divided by k; 1 where both sets are
            alike, more where images crowd where reference images are dense.
        coverage: Share of the reference images whose ball holds an image.
    """

    precision: Estimate
    recall: Estimate
    density: Estimate
    coverage: Estimate


def overlap(images: Tensor, reference: Tensor, rng: np.random.Generator, *, k: int = NEIGHBOURS) -> Overlap:
    """Return precision, recall, density and coverage of images against reference images.

    A ball is open, as in the code of Naeem et al., so that a set lies in itself with exactly 1 in all four. The values
    depend on the numbers of images: compare them for equal numbers alone. The interval of a share speaks of other draws
    of the images that it counts, with the balls as they are; with four times as many reference images as images, that
    of coverage would be half as wide again if it spoke of other images, too.

    Args:
        images: (M, D) features of the images, M > k, by a network that they were not made for.
        reference: (N, D) features of the reference images by the same network, N > k.
        rng: Source of the resamples of the images, for the interval of the density.
        k: Which neighbour a ball reaches up to.

    Raises:
        ShapeError: Features of two networks.
        SettingError: Too few images for k, or features that are not finite.

    References:
        Kynkaanniemi et al. 2019 (arXiv 1904.06991), eqs. 1 and 2; Naeem et al. 2020 (arXiv 2002.09797), eqs. 4 and 5.
    """
    x, y = _checked(reference, "reference images", k), _checked(images, "images", k)
    if x.shape[1] != y.shape[1]:
        raise ShapeError(f"features of {y.shape[1]} and {x.shape[1]} values, expected both from one network")
    is_inside = _inside(y, x, _radii(x, k))
    is_reached = _inside(x, y, _radii(y, k)).any(1)
    return Overlap(
        precision=_share(is_inside.any(1), "images, the reference fixed"),
        recall=_share(is_reached, "reference images, the images fixed"),
        density=_density(is_inside, k, rng),
        coverage=_share(is_inside.any(0), "reference images, the images fixed"),
    )


def _checked(features: Tensor, name: str, k: int) -> Tensor:
    if features.ndim != 2 or len(features) <= k:
        raise SettingError(
            f"features of the {name} have shape {tuple(features.shape)}, expected more than k = {k} rows (one an image)"
        )
    if not features.isfinite().all():
        raise SettingError(f"features of the {name} are not all finite; check the network")
    return features.double()


def _distances(rows: Tensor, columns: Tensor) -> Tensor:
    # Multiplied out they would be faster, and the distance of an image to itself would not be 0.
    return torch.cdist(rows, columns, compute_mode="donot_use_mm_for_euclid_dist")


def _radii(points: Tensor, k: int) -> Tensor:
    """Return the distance (N,) of each point to its k-th nearest other one."""
    # Each is its own nearest, at 0: the k-th other one comes after it.
    return torch.cat([_distances(part, points).kthvalue(k + 1, dim=1).values for part in points.split(ROWS)])


def _inside(points: Tensor, centres: Tensor, radii: Tensor) -> Tensor:
    """Return which balls hold which points, (P, C)."""
    return torch.cat([_distances(part, centres) < radii for part in points.split(ROWS)])


def _density(is_inside: Tensor, k: int, rng: np.random.Generator) -> Estimate:
    """Return the density of (M, N), with images and balls drawn anew for the interval.

    With the balls fixed, the interval would hold the mean over other reference images in 75 to 89 of 100 cases; like
    this it is 91 to 100 (normal features, 100 to 400 images).
    """
    holds = is_inside.float().numpy()
    of_images, of_balls = (resample_images(n, rng).astype(np.float32) for n in holds.shape)
    draws = (of_images * (holds @ of_balls)).sum(0, dtype=np.float64) / (k * len(holds))
    value = float(holds.sum(dtype=np.float64)) / (k * len(holds))
    found = percentile_interval(draws, value=value, n=len(holds))
    return replace(found, method="percentile bootstrap over images and reference images")


def _share(hits: Tensor, over: str) -> Estimate:
    share = counted_share(int(hits.sum()), len(hits))
    return replace(share, method=f"{share.method}, over {over}")
