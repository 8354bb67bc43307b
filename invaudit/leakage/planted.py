"""Images that stand in for reconstructions: copies of known quality, and images that have nothing to do with the pool.

Both use images alone, never a target, so that making them tells nothing about one.
"""

import math

import torch
from torch import Tensor

from invaudit.data.vision import import_torchvision
from invaudit.runtime.errors import SettingError


def degraded_copies(images: Tensor, rng: torch.Generator, *, blur: float, noise: float) -> Tensor:
    """Return blurred and noisy copies: a leak of stated quality.

    Args:
        images: (N, C, H, W) in [0, 1].
        rng: Source of the noise.
        blur: Standard deviation of the Gaussian blur in pixels; 0: none.
        noise: Standard deviation of the noise.

    Returns:
        (N, C, H, W) in [0, 1].
    """
    if blur:
        # The kernel reaches three standard deviations, or as far as reflection at the border allows.
        reach = min(math.ceil(3 * blur), min(images.shape[2:]) - 1)
        images = import_torchvision().transforms.functional.gaussian_blur(images, [2 * reach + 1] * 2, [blur, blur])
    return (images + noise * torch.randn(images.shape, generator=rng)).clamp(0, 1)


def unrelated(reference: Tensor, count: int, rng: torch.Generator, *, blur: float = 1.0, noise: float = 0.05) -> Tensor:
    """Return blurred and noisy reference images: reconstructions of an attack that learnt nothing from the target.

    Args:
        reference: (M, C, H, W) in [0, 1], images that are in no pool.
        count: How many; an image serves twice only where there are fewer.
        rng: Source of choice and noise.
        blur: As in ``degraded_copies``; reconstructions are smooth as a rule.
        noise: As in ``degraded_copies``.

    Returns:
        (count, C, H, W) in [0, 1].

    Raises:
        SettingError: There are no reference images.
    """
    if not len(reference):
        raise SettingError("there are no reference images, expected at least one; keep some out of the pool")
    rounds = [torch.randperm(len(reference), generator=rng) for _ in range(math.ceil(count / len(reference)))]
    return degraded_copies(reference[torch.cat(rounds)[:count]], rng, blur=blur, noise=noise)
