"""The one transform of a benchmark, applied to ID and OOD images alike."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from invaudit.data.shapes import LUMINANCE
from invaudit.runtime.errors import SettingError

_BATCH = 2048


@dataclass(frozen=True)
class Transform:
    """Bring images to one side, one number of channels and one number of grey levels.

    In this order: grey by luminance, or grey repeated; antialiased bilinear resize (images that are not square are
    squeezed); black padding; rounding to the grey levels. Two sets are comparable when their transforms are equal.

    Args:
        side: Height and width of the result, padding included.
        channels: 1 (grey) or 3 (RGB).
        padding: Black pixels on each of the four edges.
        levels: Number of grey levels, evenly spaced from black to white.

    Raises:
        SettingError: A value lies outside its range.
    """

    side: int
    channels: int
    padding: int = 0
    levels: int = 256

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        for name, good, expected in (
            ("side", self.side >= 1, "at least 1"),
            ("channels", self.channels in (1, 3), "1 or 3"),
            ("padding", 0 <= 2 * self.padding < self.side, "from 0 to under half the side"),
            ("levels", 2 <= self.levels <= 256, "from 2 to 256"),
        ):
            if not good:
                raise SettingError(f"{name} of the transform is {getattr(self, name)}, expected {expected}")

    def apply(self, images: Tensor) -> Tensor:
        """Return images (N, C, H, W) uint8 of any size as (N, channels, side, side) uint8."""
        batches = [quantise(self._resized(batch.float().div_(255)), self.levels) for batch in images.split(_BATCH)]
        return torch.cat(batches)

    def _resized(self, images: Tensor) -> Tensor:
        if self.channels == 1 and images.shape[1] == 3:
            weights = torch.tensor(LUMINANCE, device=images.device).view(1, 3, 1, 1)
            images = (images * weights).sum(1, keepdim=True)
        inner = self.side - 2 * self.padding
        if tuple(images.shape[2:]) != (inner, inner):
            images = functional.interpolate(images, (inner, inner), mode="bilinear", antialias=True)
        images = functional.pad(images, (self.padding,) * 4)
        return images.expand(-1, self.channels, -1, -1)


def quantise(images: Tensor, levels: int) -> Tensor:
    """Round images to evenly spaced grey levels from black to white.

    Args:
        images: (..., H, W) float in [0, 1].
        levels: Number of grey levels K, from 2 to 256.

    Returns:
        The same shape as uint8, level k as round(255 k / (K - 1)).
    """
    steps = levels - 1
    return images.clamp(0, 1).mul(steps).round_().mul_(255 / steps).round_().to(torch.uint8)


def values_used(images: Tensor) -> Tensor:
    """Return which of the values 0 to 255 uint8 images take: (256,) bool."""
    return torch.bincount(images.flatten(), minlength=256).bool()


def fewest_levels(used: Tensor) -> int:
    """Return the fewest evenly spaced grey levels, black and white among them, that hold all values used.

    256 for photographs.

    Args:
        used: (256,) bool, as of ``values_used``.
    """
    for levels in range(2, 256):
        grey = quantise(torch.linspace(0, 1, levels), levels).long()
        if int(used[grey].sum()) == int(used.sum()):
            return levels
    return 256
