"""The input spec: what a target takes."""

from dataclasses import dataclass, field

from invaudit.data.folders import PictureInput
from invaudit.data.preparation import Preparation


@dataclass(frozen=True)
class InputSpec:
    """What a target takes: images of this shape in [0, 1], normalised inside with this mean and std per channel.

    How a picture of any size becomes such an image is ``preparation``, where that is known. It changes nothing of the
    network, and so is no part of its identity (its hash, and what two specs are compared by).
    """

    channels: int
    height: int
    width: int
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    preparation: Preparation | None = field(default=None, repr=False, compare=False)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return self.channels, self.height, self.width

    @property
    def pictures(self) -> PictureInput:
        """What picture files become for this target, as ``invaudit.data.load`` takes it."""
        return PictureInput(self.shape, self.preparation)
