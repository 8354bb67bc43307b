"""How a picture of any size becomes the input of a network."""

from dataclasses import asdict, dataclass
from math import floor
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from invaudit.runtime.errors import SettingError, ShapeError

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
DEFAULT_SHARE = 0.875
"""Share of the short side that the centre crop keeps where nobody says how to prepare pictures."""


@dataclass(frozen=True)
class Preparation:
    """How a picture of any size becomes the input of a network: short side, centre crop, scaling.

    The steps are torchvision's on PIL pictures, pixel by pixel: ``Resize(resize)``, then ``CenterCrop(crop)``, then,
    where that is not yet the size that the network takes, ``Resize`` to it. Nothing is padded: a picture is never
    smaller than its crop.

    Args:
        resize: Length of the short side after the first step; None leaves it out.
        crop: Side of the square that is cut from the centre; None is the input of the network.
        interpolation: How pixels are interpolated; antialiased, but for ``nearest``.
        squash: Scale the whole picture to the input, whatever its shape, in place of all steps.

    Raises:
        SettingError: A value outside its range, or ``squash`` beside steps that it replaces.
    """

    resize: int | None = None
    crop: int | None = None
    interpolation: Interpolation = "bilinear"
    squash: bool = False

    def __post_init__(self) -> None:
        """Refuse values that cannot be followed."""
        for name, side in (("resize", self.resize), ("crop", self.crop)):
            if side is not None and not 1 <= side <= 10_000:
                raise SettingError(f"{name} is {side}, expected a side from 1 to 10000 pixels")
        if self.interpolation not in get_args(Interpolation):
            expected = ", ".join(get_args(Interpolation))
            raise SettingError(f"interpolation is {self.interpolation!r}, expected one of: {expected}")
        if self.squash and (self.resize or self.crop):
            raise SettingError("squash scales the whole picture, so resize and crop have no place beside it")

    @property
    def as_it_is(self) -> bool:
        """Whether no step is named: a picture must have the size that the network takes."""
        return not (self.resize or self.crop or self.squash)

    def apply(self, picture: Image.Image, height: int, width: int) -> NDArray[np.uint8]:
        """Return a picture as (height, width) or (height, width, 3) uint8.

        Raises:
            ShapeError: The picture does not have that size and no step is named, or it is smaller than its crop.
        """
        resample = Image.Resampling[self.interpolation.upper()]
        if not self.squash:
            picture = self._cropped(picture, height, width, resample)
        if picture.size != (width, height):
            picture = picture.resize((width, height), resample)
        return np.asarray(picture)

    def describe(self, height: int, width: int) -> str:
        """Return the steps in words, e.g. ``short side 256 (bilinear), centre crop 224 x 224``."""
        if self.squash:
            return f"the whole picture scaled to {width} x {height} ({self.interpolation})"
        steps = [f"short side {self.resize} ({self.interpolation})"] if self.resize else []
        crop = (self.crop, self.crop) if self.crop else (width, height)
        steps.append(f"centre crop {crop[0]} x {crop[1]}")
        if crop != (width, height):
            steps.append(f"scaled to {width} x {height}")
        return "as they are" if self.as_it_is else ", ".join(steps)

    def record(self) -> dict[str, Any]:
        """Return the steps as plain values."""
        return asdict(self)

    def _cropped(self, picture: Image.Image, height: int, width: int, resample: Image.Resampling) -> Image.Image:
        if self.as_it_is and picture.size != (width, height):
            got = f"is {picture.size[0]} x {picture.size[1]}, expected {width} x {height}"
            side = floor(max(height, width) / DEFAULT_SHARE)
            raise ShapeError(
                f"{got}: bring pictures to that size, or say how they get it (--resize {side} or --squash, where the "
                "command has them; a guard prepares as it was fitted)"
            )
        if self.resize:
            picture = picture.resize(_short_side(picture.size, self.resize), resample)
        crop_width, crop_height = (self.crop, self.crop) if self.crop else (width, height)
        if picture.width < crop_width or picture.height < crop_height:
            got = f"is {picture.width} x {picture.height} before the crop of {crop_width} x {crop_height}"
            raise ShapeError(f"{got}, expected no less: give a larger --resize, or --squash")
        left, top = round((picture.width - crop_width) / 2), round((picture.height - crop_height) / 2)
        return picture.crop((left, top, left + crop_width, top + crop_height))


def default_preparation(height: int, width: int) -> Preparation:
    """Return what is done with pictures of many sizes where nobody says it: short side to side / 0.875, centre crop."""
    return Preparation(resize=floor(max(height, width) / DEFAULT_SHARE))


def _short_side(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Return (width, height) scaled so that the shorter is ``side``, the other rounded down as torchvision does."""
    width, height = size
    if width <= height:
        return side, max(1, int(side * height / width))
    return max(1, int(side * width / height)), side
