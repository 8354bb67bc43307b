"""The input spec: what a target takes."""

from dataclasses import dataclass, field
from math import isfinite

from invaudit.data.folders import PictureInput
from invaudit.data.preparation import Preparation
from invaudit.runtime.errors import SettingError

LARGEST = {"channels": 1_024, "height": 10_000, "width": 10_000}
"""Largest value of each size."""
MOST_NUMBERS = 2**26
"""Numbers of one image at most: 0.25 GB."""
STD_RANGE = (1e-4, 1e4)
"""Beyond it every image is the same for the network, or none is finite."""
MEAN_LIMIT = 1e4


@dataclass(frozen=True)
class InputSpec:
    """What a target takes: images of this shape in [0, 1], normalised inside with this mean and std per channel.

    How a picture of any size becomes such an image is ``preparation``, where that is known. It changes nothing of the
    network, and so is no part of its identity (its hash, and what two specs are compared by).

    Raises:
        SettingError: A value outside its range.
    """

    channels: int
    height: int
    width: int
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    preparation: Preparation | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse values that no network takes."""
        for name, most in LARGEST.items():
            size = getattr(self, name)
            if not 1 <= size <= most:
                raise SettingError(f"the input has {name} {_short(size)}, expected 1 to {most}")
        if self.channels * self.height * self.width > MOST_NUMBERS:
            raise SettingError(
                f"the input is {self.channels} x {self.height} x {self.width}, expected {MOST_NUMBERS} numbers at most"
            )
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, self.channels):
                expected = "one, or one for each channel"
                raise SettingError(f"{name} has {len(values)} values for {self.channels} channels, expected {expected}")
        for value in self.mean:
            if not (isfinite(value) and abs(value) <= MEAN_LIMIT):
                raise SettingError(f"mean is {value}, expected a finite number up to {MEAN_LIMIT:g} in size")
        low, high = STD_RANGE
        for value in self.std:
            if not low <= value <= high:
                raise SettingError(f"std is {value}, expected {low:g} to {high:g}: pixels lie in [0, 1]")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return self.channels, self.height, self.width

    @property
    def pictures(self) -> PictureInput:
        """What picture files become for this target, as ``invaudit.data.load`` takes it."""
        return PictureInput(self.shape, self.preparation)


def _short(size: int) -> str:
    text = hex(size) if abs(size) >= 10**20 else str(size)
    return text if len(text) <= 20 else f"{text[:20]}..."
