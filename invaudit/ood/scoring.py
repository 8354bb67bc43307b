"""The decision of a guard on each of many images."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from invaudit.data import ImageSet
from invaudit.ood.guarded import FALSE_ALARM_RATE, GuardedClassifier
from invaudit.ood.inputs import images_for
from invaudit.records.columns import Row


class ImageScore(Row):
    """What a guarded classifier says of one image."""

    index: int
    """Position of the image, from 0."""
    file: str | None
    """Where it came from; None where it came from no file of its own."""
    label: int
    """Its class, -1 where that is not known or none of the guard's; compared by name, where classes have names."""
    label_name: str | None
    """Name of its class in the data."""
    predicted: int
    """The most likely ID class."""
    predicted_name: str | None
    """Name of that class."""
    score: float
    """OOD score; higher = more OOD."""
    p_value: float
    """Share of calibration images at least as strange; small = OOD."""
    accepted: bool
    """Whether the image is taken as ID."""


@dataclass(frozen=True)
class ImageScores:
    """Decisions on images at one false-alarm rate.

    Attributes:
        rows: One for each image, in order.
        alpha: Highest false-alarm rate on ID images like those of calibration.
        delta: Share of calibration sets for which the rate may be higher; None: it holds on average over them.
        threshold: Score above which an image is rejected.
    """

    rows: list[ImageScore]
    alpha: float
    delta: float | None
    threshold: float

    @property
    def rejected(self) -> float:
        """Share of the images that are rejected."""
        return self._tally().rejected

    def summary(self) -> dict[str, Any]:
        """Return everything but the rows, and their number as ``n``."""
        return self._tally().summary()

    def _tally(self) -> "ScoreTally":
        tally = ScoreTally(self.alpha, self.delta, self.threshold)
        for _ in tally.counting(self.rows):
            pass
        return tally


@dataclass
class ScoreTally:
    """Counts of images that are not kept: decisions at one false-alarm rate, as in `ImageScores`."""

    alpha: float
    delta: float | None
    threshold: float
    n: int = 0
    n_rejected: int = 0

    def counting(self, rows: Iterable[ImageScore]) -> Iterator[ImageScore]:
        """Yield rows as they come, and count them."""
        for row in rows:
            self.n += 1
            self.n_rejected += not row.accepted
            yield row

    @property
    def rejected(self) -> float:
        """Share of the images that are rejected."""
        return self.n_rejected / self.n

    def summary(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        return {
            "n": self.n,
            "alpha": self.alpha,
            "delta": self.delta,
            "threshold": self.threshold,
            "rejected": self.rejected,
        }


def score_images(
    guarded: GuardedClassifier,
    data: str | ImageSet,
    *,
    alpha: float = FALSE_ALARM_RATE,
    delta: float | None = None,
    download: bool = False,
) -> ImageScores:
    """Score images, and accept or reject each; arguments and errors are those of `stream_scores`."""
    rows = list(stream_scores(guarded, data, alpha=alpha, delta=delta, download=download))
    return ImageScores(rows, alpha, delta, guarded.threshold(alpha, delta))


def stream_scores(
    guarded: GuardedClassifier,
    data: str | ImageSet,
    *,
    alpha: float = FALSE_ALARM_RATE,
    delta: float | None = None,
    download: bool = False,
) -> Iterator[ImageScore]:
    """Yield score and decision of each image in order; what is done is not kept, so sets of any size go through.

    Args:
        guarded: The classifier with its detector.
        data: Images of the shape that it takes: a DATA text, or the images.
        alpha: Highest false-alarm rate on ID images like those of calibration.
        delta: Keep the rate for all but this share of calibration sets; without it, on average over them.
        download: Whether torchvision may fetch the set that ``data`` names.

    Raises:
        ShapeError: The images have another shape.
        SettingError: An alpha or delta that so many calibration images cannot keep.
    """
    images = images_for(guarded, data, download=download)
    labels = _labels(images, guarded.class_names).tolist()
    index = 0
    for judgement in guarded.judgements(images, alpha, delta):
        columns = zip(
            judgement.predicted.tolist(),
            judgement.predicted_names,
            judgement.scores.tolist(),
            judgement.p_values.tolist(),
            judgement.accepted.tolist(),
            strict=True,
        )
        for predicted, predicted_name, score, p_value, accepted in columns:
            yield ImageScore(
                index=index,
                file=images.file(index),
                label=labels[index],
                label_name=images.class_name(int(images.labels[index])),
                predicted=predicted,
                predicted_name=predicted_name,
                score=score,
                p_value=p_value,
                accepted=accepted,
            )
            index += 1


def _labels(images: ImageSet, class_names: tuple[str, ...]) -> Tensor:
    """Return the class of each image in the numbering of a guard: by name, where both have names, else as it is."""
    if not (class_names and images.class_names):
        return images.labels
    numbers = {name: number for number, name in enumerate(class_names)}
    known = torch.tensor([numbers.get(name, -1) for name in images.class_names])
    return torch.where(images.labels < 0, -1, known[images.labels.clamp_min(0)])
