"""Images of noise to make outliers from."""

import torch
from torch import Tensor

from invaudit.data import seeded_rng


def pool(size: tuple[int, ...], n: int = 20) -> tuple[Tensor, Tensor]:
    """Return n images of a size (C, H, W), and labels of four classes in turn."""
    images = torch.rand((n, *size), generator=seeded_rng(1, "pool"))
    return images, torch.arange(n) % 4
