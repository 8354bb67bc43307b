"""Outliers that training uses: noise, and outliers derived from training images. Every call draws fresh ones."""

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from invaudit.data.shapes import partners, plane, rand, sources
from invaudit.data.shares import equal_counts
from invaudit.runtime.errors import SettingError

Shape = tuple[int, ...]

_GRIDS = (2, 4, 7, 8)


def uniform(shape: Shape, rng: torch.Generator) -> Tensor:
    """Draw every value uniformly from [0, 1]."""
    return torch.rand(shape, generator=rng, device=rng.device)


def gaussian(shape: Shape, rng: torch.Generator) -> Tensor:
    """Draw Gaussian noise, clipped to [0, 1]; each image has its own mean in [0, 1] and sd in [0.1, 0.5]."""
    mean, spread = torch.rand((2, shape[0], 1, 1, 1), generator=rng, device=rng.device)
    return torch.randn(shape, generator=rng, device=rng.device).mul_(0.1 + 0.4 * spread).add_(mean).clamp_(0, 1)


def salt(shape: Shape, rng: torch.Generator) -> Tensor:
    """Draw bright pixels on black; each image has its own share of them, from 0.05 to 0.6."""
    draws = torch.rand((2, *shape), generator=rng, device=rng.device)
    share = 0.05 + 0.55 * torch.rand((shape[0], 1, 1, 1), generator=rng, device=rng.device)
    return (draws[0] < share) * (0.5 + 0.5 * draws[1])


def bumps(shape: Shape, rng: torch.Generator) -> Tensor:
    """Draw smooth hills: uniform noise on a coarse grid (a quarter of the side, at least 3), enlarged."""
    height, width = shape[2:]
    coarse = (max(3, height // 4), max(3, width // 4))
    values = torch.rand((*shape[:2], *coarse), generator=rng, device=rng.device)
    return functional.interpolate(values, (height, width), mode="bilinear", align_corners=False)


NOISES: dict[str, Callable[[Shape, torch.Generator], Tensor]] = {
    "uniform": uniform,
    "gaussian": gaussian,
    "salt": salt,
    "bumps": bumps,
}
"""Name -> noise of a shape (N, C, H, W), float32 in [0, 1], on the generator's device."""


class Derivation(Protocol):
    """Outliers made from training images (N, C, H, W) float in [0, 1] with labels (N,).

    They keep the images' device and type. ``n`` of them are made from images drawn at random; without ``n`` one is
    made from each image, in order.
    """

    def __call__(self, images: Tensor, labels: Tensor, rng: torch.Generator, n: int | None = None) -> Tensor:
        """Return the outliers, float in [0, 1]."""
        ...


def patch_shuffle(images: Tensor, labels: Tensor, rng: torch.Generator, n: int | None = None) -> Tensor:
    """Cut each image into a grid and move every patch to another place.

    The grids are those of 2, 4, 7 and 8 a side that divide the image into patches of 2 pixels or more; they take
    turns. Where none divides it (odd sides), edges that are left over stay where they are.
    """
    images = images[sources(labels, n, rng)]
    height, width = images.shape[2:]
    fitting, dividing = [], []
    for grid in _GRIDS:
        if 2 * grid <= min(height, width):
            fitting.append(grid)
            if height % grid == 0 and width % grid == 0:
                dividing.append(grid)
    grids = dividing or fitting
    out = images.clone()
    for turn, grid in enumerate(grids):
        out[turn :: len(grids)] = _shuffled(images[turn :: len(grids)], grid, rng)
    return out


def phase_noise(images: Tensor, labels: Tensor, rng: torch.Generator, n: int | None = None) -> Tensor:
    """Keep the amplitude of each image's Fourier transform and randomise its phase, alike in all channels."""
    images = images[sources(labels, n, rng)]
    size = images.shape[2:]
    # The transform of real noise has the symmetry that keeps the result real, and a positive mean keeps the mean.
    turn = torch.fft.rfft2(rand((len(images), 1, *size), rng, images))
    turn = turn / turn.abs().clamp_min(1e-9)
    return torch.fft.irfft2(torch.fft.rfft2(images) * turn, s=size).clamp(0, 1)


def cut_join(images: Tensor, labels: Tensor, rng: torch.Generator, n: int | None = None) -> Tensor:
    """Join each image with one of another class along a straight line near the centre.

    An image that has no other class beside it is joined with its own negative.
    """
    place = sources(labels, n, rng)
    partner, alone = partners(labels, place, rng)
    first = images[place]
    second = torch.where(alone[:, None, None, None], 1 - first, images[partner])
    draws = rand((2, len(first), 1, 1), rng, images)
    angle, offset = 2 * math.pi * draws[0], 0.5 * (draws[1] - 0.5)
    y, x = plane(first)
    side = (angle.cos() * x + angle.sin() * y > offset)[:, None]
    return torch.where(side, first, second)


def inverted(images: Tensor, labels: Tensor, rng: torch.Generator, n: int | None = None) -> Tensor:
    """Return the negative of each image."""
    return 1 - images[sources(labels, n, rng)]


DERIVED: dict[str, Derivation] = {
    "patch-shuffle": patch_shuffle,
    "phase-noise": phase_noise,
    "cut-join": cut_join,
    "inverted": inverted,
}
"""Name -> derivation."""


def noise(n: int, shape: Shape, rng: torch.Generator, *, kinds: Sequence[str] = ()) -> Tensor:
    """Draw noise, in equal shares of its kinds.

    Args:
        n: Number of images; where they do not divide evenly the first kinds give one more.
        shape: (C, H, W).
        rng: Generator of the draws.
        kinds: Names from ``NOISES``; none means all.

    Returns:
        (n, C, H, W) float32 in [0, 1], on the generator's device.

    Raises:
        SettingError: There is no such kind.
    """
    if unknown := set(kinds) - set(NOISES):
        raise SettingError(f"there is no noise {', '.join(sorted(unknown))}, expected any of: {', '.join(NOISES)}")
    parts = [torch.empty((0, *shape), device=rng.device)]
    for kind, count in equal_counts(n, kinds or tuple(NOISES)).items():
        parts.append(NOISES[kind]((count, *shape), rng))
    return torch.cat(parts)


def derived(images: Tensor, labels: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """Derive outliers from training images, in equal shares of all kinds.

    Args:
        images: (N, C, H, W) float in [0, 1], from which sources are drawn at random.
        labels: (N,) their classes.
        n: Number of outliers; where they do not divide evenly the first kinds give one more.
        rng: Generator of the draws.

    Returns:
        (n, C, H, W) float in [0, 1], on the images' device.
    """
    parts = [images[:0]]
    for kind, count in equal_counts(n, tuple(DERIVED)).items():
        parts.append(DERIVED[kind](images, labels, rng, count))
    return torch.cat(parts)


def _shuffled(images: Tensor, grid: int, rng: torch.Generator) -> Tensor:
    """Shuffle the patches of images; a random cycle through all places leaves none where it was."""
    n, channels, height, width = images.shape
    down, across = height // grid, width // grid
    out = images.clone()
    area = out[:, :, : grid * down, : grid * across].unflatten(3, (grid, across)).unflatten(2, (grid, down))
    patches = area.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
    order = rand((n, grid * grid), rng, images).argsort(1)
    moved = torch.empty_like(patches)
    row = torch.arange(n, device=images.device)[:, None]
    moved[row, order] = patches[row, order.roll(1, 1)]
    back = moved.view(n, grid, grid, channels, down, across).permute(0, 3, 1, 4, 2, 5)
    out[:, :, : grid * down, : grid * across] = back.reshape(n, channels, grid * down, grid * across)
    return out
