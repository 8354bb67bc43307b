"""Views: the target is never shown the same picture twice, but crops, turns, sizes and parts of it at random.

What holds for one view alone (a stripe at a border, a pattern that fits the grid of a strided layer) earns nothing over
many of them, and no border of an image is one of the generator's own.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

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

    rotation: float = Field(default=0.0, ge=0, le=180)
    """Largest turn of a view to either side, in degrees; what comes in is black, as around digits and clothes."""

    zoom: float = Field(default=0.0, ge=0, lt=1)
    """Largest change of the size of a view (0.15: by a factor of exp(-0.15) to exp(0.15)); what comes in is black."""

    shift: float = Field(default=0.0, ge=0, le=0.5)
    """Largest shift of a view in either direction, as a share of the side; what comes in is black."""

    frame: float = Field(default=0.0, ge=0, lt=0.5)
    """Largest width of a black strip over each side of a view, as a share of the side; the picture itself has strips of
    half of it. So the middle must say all, also to the statistics of batch norm: a network that never saw anything near
    a border asks for nothing there, and would take anything."""

    view_noise: float = Field(default=0.0, ge=0, le=1)
    """Largest standard deviation of noise over a view, so that no weak pattern counts."""

    def canvas(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Return the shape (C, H, W) of what is drawn for images of a shape."""
        channels, height, width = shape
        return channels, height + 2 * round(self.margin * height), width + 2 * round(self.margin * width)

    @property
    def has_views(self) -> bool:
        """Whether the target is shown anything but the image as it is."""
        return bool(self.margin or self.contrast or self.flip != "never" or self.frame or self.view_noise or self.turns)

    @property
    def turns(self) -> bool:
        """Whether views are turned, sized or shifted."""
        return bool(self.rotation or self.zoom or self.shift)

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
        choose = random_views if self.training else middle
        return choose(drawn, self.settings, self.shape)


def middle(drawn: Tensor, settings: ViewSettings, shape: tuple[int, int, int]) -> Tensor:
    """Return the picture (N, C, H, W) in the middle of what was drawn (N, C, H + 2 a, W + 2 b), in a mean frame."""
    height, width = shape[1:]
    top, left = (drawn.shape[2] - height) // 2, (drawn.shape[3] - width) // 2
    pictures = drawn[:, :, top : top + height, left : left + width]
    if not settings.frame:
        return pictures
    rows, columns = round(settings.frame * height / 2), round(settings.frame * width / 2)
    return _framed(pictures, (rows, rows, columns, columns))


def random_views(drawn: Tensor, settings: ViewSettings, shape: tuple[int, int, int]) -> Tensor:
    """Return views (N, C, H, W) of N drawn images, in [0, 1] but for noise over them; differentiable.

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
    if settings.frame:
        widths = [int(torch.randint(round(settings.frame * side) + 1, ())) for side in (height, height, width, width)]
        views = _framed(views, widths)
    if settings.turns:
        views = turned(views, settings, 1)
    if settings.view_noise:
        noise = torch.randn(views.shape, device=views.device)
        # Not clipped to [0, 1]: that would make black grey, and change what batch norm sees.
        views = views + settings.view_noise * float(torch.rand(())) * noise
    return views


def turned(images: Tensor, settings: ViewSettings, draws: int) -> Tensor:
    """Return images (N, C, H, W) turned, sized and shifted at random, in ``draws`` ways: 1 for all, or N.

    Draws from torch's own generators.
    """

    def drawn(largest: float) -> Tensor:
        return largest * (2 * torch.rand(draws) - 1)

    angle, size = drawn(math.radians(settings.rotation)), drawn(settings.zoom).exp()
    across, down = size * angle.cos(), size * angle.sin()
    # In the coordinates of an affine grid a side is 2 long.
    first_row = torch.stack([across, -down, drawn(2 * settings.shift)], 1)
    second_row = torch.stack([down, across, drawn(2 * settings.shift)], 1)
    ways = torch.stack([first_row, second_row], 1).expand(len(images), 2, 3).to(images.device)
    grid = functional.affine_grid(ways, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid.to(images.dtype), align_corners=False)


def _framed(images: Tensor, widths: Sequence[int]) -> Tensor:
    """Return images with black strips of some widths over the top, the bottom, the left and the right."""
    top, bottom, left, right = widths
    height, width = images.shape[2:]
    is_seen = torch.zeros((height, width), device=images.device, dtype=images.dtype)
    is_seen[top : height - bottom, left : width - right] = 1
    return images * is_seen
