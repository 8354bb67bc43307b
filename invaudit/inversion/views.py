"""Views: a picture is drawn larger than the target takes, and the target is shown random crops of it.

What holds for one view alone (a stripe at a border, a pattern that fits the grid of a strided layer) earns nothing over
many of them, and no border of an image is one of the generator's own.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from invaudit.inversion.conditions import Condition
from invaudit.runtime.settings import Settings


class ViewSettings(Settings):
    """What the target is shown of an image while it is searched for; by default the image as it is."""

    margin: float = Field(default=0.0, ge=0, le=0.5)
    """Width of the strip around an image that is drawn beside it, as a share of the side. The target is shown a crop at
    random, so an image holds under shifts of up to this much."""

    flip: Literal["never", "colour", "always"] = "never"
    """Mirror half of the views, left and right; ``colour``: of images with three channels, which are photographs as a
    rule. A mirrored digit is another sign."""

    contrast: float = Field(default=0.0, ge=0, lt=1)
    """Largest change of the contrast of a view with three channels (0.1: by a factor of 0.9 to 1.1), and half as much
    of its brightness."""

    def canvas(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Return the shape (C, H, W) of what is drawn for images of a shape."""
        channels, height, width = shape
        return channels, height + 2 * round(self.margin * height), width + 2 * round(self.margin * width)

    @property
    def has_views(self) -> bool:
        """Whether the target is shown anything but the image as it is."""
        return bool(self.margin or self.contrast or self.flip != "never")

    def flips(self, channels: int) -> bool:
        """Return whether views of images with so many channels are mirrored."""
        return self.flip == "always" or (self.flip == "colour" and channels == 3)


class Viewed(nn.Module):
    """A generator whose images are random views in training mode, and the middle of what it draws in eval mode.

    Args:
        generator: Draws images of the shape ``settings.canvas(shape)``.
        settings: Which views.
        shape: (C, H, W) of an image.
    """

    def __init__(self, generator: nn.Module, settings: ViewSettings, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.generator, self.settings, self.shape = generator, settings, shape

    def forward(self, noise: Tensor, condition: Condition) -> Tensor:
        """Return images (N, C, H, W) in [0, 1] for noise (N, Z) and N conditions."""
        drawn = self.generator(noise, condition)
        return random_views(drawn, self.settings, self.shape) if self.training else middle(drawn, self.shape)


def middle(drawn: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Return the middle (N, C, H, W) of what was drawn (N, C, H + 2 a, W + 2 b)."""
    height, width = shape[1:]
    top, left = (drawn.shape[2] - height) // 2, (drawn.shape[3] - width) // 2
    return drawn[:, :, top : top + height, left : left + width]


def random_views(drawn: Tensor, settings: ViewSettings, shape: tuple[int, int, int]) -> Tensor:
    """Return views (N, C, H, W) in [0, 1] of N drawn images; differentiable.

    The crop and the side are drawn once for all of them, so that images which differ only by their views stay equal to
    the objectives over pairs. Draws from torch's own generators.
    """
    channels, height, width = shape
    top = int(torch.randint(drawn.shape[2] - height + 1, ()))
    left = int(torch.randint(drawn.shape[3] - width + 1, ()))
    views = drawn[:, :, top : top + height, left : left + width]
    if settings.flips(channels) and int(torch.randint(2, ())):
        views = views.flip(3)
    if settings.contrast and channels == 3:
        change = settings.contrast * (2 * torch.rand((2, len(drawn), 1, 1, 1), device=drawn.device) - 1)
        centre = views.mean((1, 2, 3), keepdim=True)
        views = (centre + (1 + change[0]) * (views - centre) + change[1] / 2).clamp(0, 1)
    return views
