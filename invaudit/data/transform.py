"""The one transform of a benchmark, applied to ID and OOD images alike."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from invaudit.data.drawing import LUMINANCE
from invaudit.data.images import ImageSet
from invaudit.runtime.errors import DataError, SettingError

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

    def __call__(self, images: ImageSet) -> ImageSet:
        """Return the transformed set; a set that already went through an equal transform comes back as it is.

        Args:
            images: Images of any size, uint8.

        Returns:
            The set with images (N, channels, side, side) uint8 and this transform recorded.

        Raises:
            DataError: The set already went through another transform.
        """
        if images.transform == self:
            return images
        if images.transform is not None:
            got = f"{images.name} already went through {images.transform}"
            raise DataError(f"{got}, expected untransformed images for {self}; start from the original images")
        batches = [self.quantise(self._resized(batch.float().div_(255))) for batch in images.images.split(_BATCH)]
        return replace(images, images=torch.cat(batches), transform=self)

    def quantise(self, images: Tensor) -> Tensor:
        """Round images to the grey levels.

        Args:
            images: (..., H, W) float in [0, 1].

        Returns:
            The same shape as uint8, level k of K as round(255 k / (K - 1)).
        """
        steps = self.levels - 1
        return images.clamp(0, 1).mul(steps).round_().mul_(255 / steps).round_().to(torch.uint8)

    def _resized(self, images: Tensor) -> Tensor:
        if self.channels == 1 and images.shape[1] == 3:
            weights = torch.tensor(LUMINANCE, device=images.device).view(1, 3, 1, 1)
            images = (images * weights).sum(1, keepdim=True)
        inner = self.side - 2 * self.padding
        if tuple(images.shape[2:]) != (inner, inner):
            images = functional.interpolate(images, (inner, inner), mode="bilinear", antialias=True)
        images = functional.pad(images, (self.padding,) * 4)
        return images.expand(-1, self.channels, -1, -1)


def transform_of(images: ImageSet) -> Transform:
    """Return the transform that a set went through, or one that rounds to its grey levels if it went through none.

    These are the fewest evenly spaced levels, 0 and 255 among them, that its values belong to: 256 for photographs.
    """
    if images.transform:
        return images.transform
    used = torch.bincount(images.images.flatten(), minlength=256).bool()
    for levels in range(2, 256):
        found = Transform(images.images.shape[2], images.images.shape[1], levels=levels)
        grey = found.quantise(torch.linspace(0, 1, levels)).long()
        if int(used[grey].sum()) == int(used.sum()):
            return found
    return Transform(images.images.shape[2], images.images.shape[1])
