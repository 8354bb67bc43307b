"""What outliers and families are made of: sources and partners among images, coordinates, and soft-edged painting."""

import torch
from torch import Tensor

LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey image.

References:
    ITU-R BT.601.
"""


def rand(shape: tuple[int, ...], rng: torch.Generator, like: Tensor) -> Tensor:
    """Draw from [0, 1) on the generator's device and return it on that of ``like``."""
    return torch.rand(shape, generator=rng, device=rng.device).to(like.device)


def between(low: float, high: float, shape: tuple[int, ...], rng: torch.Generator, like: Tensor) -> Tensor:
    """Draw from [low, high)."""
    return low + (high - low) * rand(shape, rng, like)


def sources(labels: Tensor, n: int | None, rng: torch.Generator) -> Tensor:
    """Return the positions of n images drawn at random, or all positions in order."""
    if n is None:
        return torch.arange(len(labels), device=labels.device)
    return torch.randint(len(labels), (n,), generator=rng, device=rng.device).to(labels.device)


def partners(labels: Tensor, mine: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw for each image another one of a different class, evenly.

    Args:
        labels: (N,) classes.
        mine: (M,) positions of the images that need a partner.
        rng: Generator of the draws.

    Returns:
        (M,) positions of the partners, and (M,) bool: there is no other class (the position then means nothing).
    """
    order = labels.argsort()
    ordered = labels[order]
    first = torch.searchsorted(ordered, labels[mine])
    after = torch.searchsorted(ordered, labels[mine], right=True)
    others = len(labels) - (after - first)
    # In the circle of positions sorted by class, all others follow the end of one's own class.
    skip = (rand((len(mine),), rng, labels) * others).long().clamp(max=others - 1)
    return order[(after + skip) % len(labels)], others == 0


def plane(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows (H, 1) and columns (1, W) of pixel centres; the image reaches from -1 to 1."""
    height, width = images.shape[2:]
    y = (torch.arange(height, device=images.device) + 0.5) / height * 2 - 1
    x = (torch.arange(width, device=images.device) + 0.5) / width * 2 - 1
    return y[:, None], x[None, :]


def paint(cover: Tensor, images: Tensor, rng: torch.Generator) -> Tensor:
    """Paint shapes in the brightest colour of an ID image on its darkest.

    Args:
        cover: (n, H, W) in [0, 1], how much of each pixel the shape covers.
        images: (N, C, H, W) float, from which the n images are drawn.
        rng: Generator of the draws.

    Returns:
        (n, C, H, W) float in [0, 1].
    """
    chosen = images[torch.randint(len(images), (len(cover),), generator=rng, device=rng.device).to(images.device)]
    weights = torch.tensor(LUMINANCE, device=images.device) if images.shape[1] == 3 else images.new_ones(1)
    grey = torch.einsum("nchw,c->nhw", chosen, weights).flatten(1)
    colours = chosen.flatten(2)

    def at(place: Tensor) -> Tensor:
        return colours.gather(2, place[:, None, None].expand(-1, colours.shape[1], 1))[..., None]

    dark, bright = at(grey.argmin(1)), at(grey.argmax(1))
    return dark + (bright - dark) * cover[:, None]
