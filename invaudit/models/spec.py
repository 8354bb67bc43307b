"""The input spec: what a target takes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class InputSpec:
    """What a target takes: images of this shape in [0, 1], normalised inside with this mean and std per channel."""

    channels: int
    height: int
    width: int
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return self.channels, self.height, self.width
