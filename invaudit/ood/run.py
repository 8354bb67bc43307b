"""Runs that a user starts: a guarded classifier into a folder, and its decision on each of many images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invaudit.data import ImageSet, Preparation, load
from invaudit.data.folders import PictureInput
from invaudit.models import Target, resolve_device
from invaudit.ood.guarded import FALSE_ALARM_RATE, GuardedClassifier, check_training_images, fit
from invaudit.ood.recipes import FitSettings
from invaudit.records.columns import Row
from invaudit.runtime.errors import ShapeError
from invaudit.runtime.runs import RunFolder


@dataclass(frozen=True)
class FitRun:
    """A guarded classifier that lies in a folder.

    Attributes:
        folder: What ``GuardedClassifier.load`` reads.
        guarded: The classifier with its detector.
    """

    folder: Path
    guarded: GuardedClassifier


def run_fit(
    data: str | ImageSet,
    settings: FitSettings,
    out: Path,
    *,
    start: Target | None = None,
    as_it_is: bool = False,
    download: bool = False,
    resume: bool = False,
) -> FitRun:
    """Train or take a classifier, fit and calibrate its detector, and save both in a folder.

    Args:
        data: ID images with their classes: a DATA text, or the images; ones that ``start`` was not trained on.
        settings: Recipe, architecture of a new network, seed and device.
        out: Folder to make, or to continue.
        start: A trained network to start from, which stays as it is; without one a new network is trained.
        as_it_is: Do not train ``start``.
        download: Whether torchvision may fetch the set that ``data`` names.
        resume: Continue the run that ``out`` holds.

    Raises:
        DataError: Labels that are no classes, or too few images.
        ModelError: ``start`` does not classify the images, or cannot be saved.
        RunFolderError: The folder holds something else, or another run.
    """
    device = resolve_device(settings.device)
    images, name = _named(data, start.spec.pictures if start else None, download=download)
    check_training_images(images, start, as_it_is=as_it_is)
    inputs = (images.hash, start.hash if start else "", str(as_it_is))
    with RunFolder.open(out, settings, resume=resume, inputs=inputs, data=name) as folder:
        checkpoint = folder.path / "work.pt"
        guarded = fit(
            images,
            settings.recipe,
            seed=settings.seed,
            start=start,
            arch=settings.arch,
            as_it_is=as_it_is,
            device=device,
            checkpoint=checkpoint,
            checked=True,
        )
        guarded.save(folder.path)
        checkpoint.unlink(missing_ok=True)
    return FitRun(folder.path, guarded)


class ImageScore(Row):
    """What a guarded classifier says of one image."""

    index: int
    """Position of the image, from 0."""
    label: int
    """Its class in the data, -1 where that is not known."""
    predicted: int
    """The most likely ID class."""
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
        rejected: Share of the images that are rejected.
    """

    rows: list[ImageScore]
    alpha: float
    delta: float | None
    threshold: float
    rejected: float

    def summary(self) -> dict[str, Any]:
        """Return everything but the rows, and their number as ``n``."""
        return {
            "n": len(self.rows),
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
    """Score images, and accept or reject each.

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
    spec = guarded.target.spec
    # Pictures are prepared as those of `fit` were; where these needed none, no other preparation is guessed.
    wanted = PictureInput(spec.shape, spec.preparation or Preparation())
    images, name = _named(data, wanted, download=download)
    if images.shape != spec.shape:
        raise ShapeError(
            f"{name} holds images of shape {images.shape}, the network takes {spec.shape} "
            "(channels, height, width); resize them as the training images were"
        )
    threshold = guarded.threshold(alpha, delta)
    judgement = guarded.judge(images, alpha, delta)
    columns = zip(
        images.labels.tolist(),
        judgement.predicted.tolist(),
        judgement.scores.tolist(),
        judgement.p_values.tolist(),
        judgement.accepted.tolist(),
        strict=True,
    )
    rows = []
    for index, (label, predicted, score, p_value, accepted) in enumerate(columns):
        rows.append(
            ImageScore(index=index, label=label, predicted=predicted, score=score, p_value=p_value, accepted=accepted)
        )
    return ImageScores(rows, alpha, delta, threshold, rejected=float((~judgement.accepted).double().mean()))


def _named(data: str | ImageSet, wanted: PictureInput | None, *, download: bool) -> tuple[ImageSet, str]:
    """Return images and what to call them: their DATA text where they are given by one."""
    if isinstance(data, str):
        return load(data, download=download, wanted=wanted), data
    return data, data.name
