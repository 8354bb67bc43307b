"""What every reconstruction method gives: images, how they were come by, and how the search ended."""

from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import Tensor

from invaudit.runtime.errors import SettingError, ShapeError

Outcome = Literal["given", "converged", "budget", "collapsed", "diverged"]


@dataclass(frozen=True)
class Reconstructions:
    """R images made from a target alone that are meant to resemble members.

    Attributes:
        images: (R, C, H, W) float32 in [0, 1], on the CPU; none of a restart that diverged.
        labels: (R,) int64, the class each was made for; -1 where that is not known.
        restart: (R,) int64, the restart each comes from, counted from 0.
        outcome: ``converged``, ``budget``, ``collapsed`` (images of some class are copies of one another), ``diverged``
            (a loss was not finite), or ``given`` (read from a file, so nothing is known about it).
        history: Name of a loss or measure -> its value at each evaluation.
        message: The outcome in words.
        seconds: Wall time.

    Raises:
        ShapeError: Images, labels and restarts do not belong together.
        SettingError: A pixel lies outside [0, 1] or is not finite.
    """

    images: Tensor
    labels: Tensor
    restart: Tensor
    outcome: Outcome
    history: dict[str, list[float]] = field(default_factory=dict)
    message: str = ""
    seconds: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what does not fit the description."""
        n = len(self.images)
        if self.images.ndim != 4 or self.labels.shape != (n,) or self.restart.shape != (n,):
            got = f"images {tuple(self.images.shape)}, labels {tuple(self.labels.shape)}"
            raise ShapeError(
                f"got {got}, restart {tuple(self.restart.shape)}; expected (R, C, H, W) and one label and restart each"
            )
        # Not by comparing with "outside": that is false for NaN.
        if n and not (self.images.min() >= 0 and self.images.max() <= 1):
            raise SettingError("reconstructions have values outside [0, 1] or not finite; rescale them")

    def __len__(self) -> int:
        """Return the number of reconstructions."""
        return len(self.images)


def balanced_labels(classes: int, count: int) -> Tensor:
    """Return (count,) int64 labels 0, 1, ..., so that every stretch of them has all classes in equal numbers."""
    return torch.arange(count) % classes


def centre_of(reference: Tensor | None, shape: tuple[int, int, int]) -> Tensor | None:
    """Return the mean image of reference images (M, C, H, W), if there are any.

    Raises:
        ShapeError: They have another shape than the target takes.
    """
    if reference is None:
        return None
    if reference.shape[1:] != shape or not len(reference):
        raise ShapeError(f"reference images have shape {tuple(reference.shape)}, expected (M, {str(shape)[1:-1]})")
    return reference.float().mean(0)


def worst(outcomes: list[Outcome]) -> Outcome:
    """Return the worst of the outcomes of several restarts."""
    return max(outcomes, key=get_args(Outcome).index)
