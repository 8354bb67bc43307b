"""Those who judge images that were made for a network: another network, and a guard."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from invaudit.models import Target, collect
from invaudit.runtime.errors import ShapeError
from invaudit.stats import Estimate, counted_share

Guard = Callable[[Tensor], Any]
"""``guard(images) -> accepted``: for images (N, C, H, W) in [0, 1] on the CPU, (N,) bool, a tensor or an array."""


def predictions(network: Target, images: Tensor) -> Tensor:
    """Return the most likely output (N,) of each image."""
    return collect(network, images, keep_maps=False).logits.argmax(1)


def accepted_share(guard: Guard | None, images: Tensor) -> Estimate | None:
    """Return the share of images that a guard accepts; None without a guard, or without images.

    Raises:
        ShapeError: The guard does not give one answer for each image.
    """
    if guard is None or not len(images):
        return None
    accepted = torch.as_tensor(guard(images)).cpu()
    if accepted.shape != (len(images),) or accepted.dtype != torch.bool:
        got = f"{accepted.dtype} of shape {tuple(accepted.shape)}"
        raise ShapeError(f"the guard gives {got}, expected one bool for each of {len(images)} images")
    return counted_share(int(accepted.sum()), len(images))
