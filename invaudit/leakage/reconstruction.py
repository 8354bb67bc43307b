"""What every reconstruction method returns: images, their classes, and how the search ended."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from invaudit.inversion.outcome import Outcome
from invaudit.models import Target
from invaudit.runtime.errors import SettingError, ShapeError
from invaudit.runtime.files import content_hash
from invaudit.runtime.settings import Settings


@dataclass(frozen=True)
class Reconstructions:
    """R images made from a target alone that are meant to resemble members.

    Attributes:
        images: (R, C, H, W) float32 in [0, 1], on the CPU; none of a restart that diverged.
        labels: (R,) int64, the class that each was made for; -1 where it is not known.
        restart: (R,) int64, the restart that each comes from, counted from 0.
        outcome: How the search ended, see ``inversion.outcome``.
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
        """Refuse values that do not fit the description."""
        n = len(self.images)
        if self.images.ndim != 4 or self.labels.shape != (n,) or self.restart.shape != (n,):
            raise ShapeError(
                f"got images {tuple(self.images.shape)}, labels {tuple(self.labels.shape)}, "
                f"restart {tuple(self.restart.shape)}; expected (R, C, H, W) and one label and restart each"
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


def search_identity(target: Target, settings: Settings, rng: torch.Generator, reference: Tensor | None) -> str:
    """Return the identity of a search for its checkpoint: everything that it begins with.

    Args:
        target: What is searched against.
        settings: How.
        rng: Source of all draws, before the first of them.
        reference: What is used of the reference images, if there are any.
    """
    reference_bytes = b"" if reference is None else reference.cpu().contiguous().numpy().tobytes()
    return content_hash(settings.model_dump_json(), target.hash, rng.get_state().numpy().tobytes(), reference_bytes)


def history_of(records: Iterable[Mapping[str, float]]) -> dict[str, list[float]]:
    """Return the records of a search by name: name -> its value in each record."""
    history: dict[str, list[float]] = {}
    for record in records:
        for name, value in record.items():
            history.setdefault(name, []).append(float(value))
    return history
