"""A guard at work: does it keep its promise on new images, and a new threshold for a new site."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from invaudit.data import ImageSet
from invaudit.data.joining import with_classes
from invaudit.ood.fitting import FEWEST_CALIBRATION
from invaudit.ood.guarded import FALSE_ALARM_RATE, GuardedClassifier
from invaudit.ood.scores import predictions
from invaudit.ood.trial import named
from invaudit.runtime.errors import DataError
from invaudit.stats import Estimate, counted_share, false_alarm_band

LEVEL = 0.99
"""Of images that are like those of calibration, one check in a hundred says that they are not."""

Promise = Literal["kept", "too-many", "too-few"]


@dataclass(frozen=True)
class GuardCheck:
    """How often a guard rejects new ID images, beside what it promises.

    Attributes:
        alpha: The promised false-alarm rate.
        delta: Share of calibration sets for which it may be higher; None: it holds on average over them.
        threshold: Score above which an image is rejected.
        false_alarms: Share of the images that are rejected, with its 95 % interval.
        band: Lowest and highest share, in 99 of 100 cases, of images like those of calibration.
        accuracy: Share of the labelled images that are classified rightly, a garbage answer being an error; None where
            no image has a label.
    """

    alpha: float
    delta: float | None
    threshold: float
    false_alarms: Estimate
    band: tuple[float, float]
    accuracy: Estimate | None

    @property
    def promise(self) -> Promise:
        """Whether these images are compatible with the promised rate: the share lies in the band, above or below it."""
        low, high = self.band
        if self.false_alarms.value > high:
            return "too-many"
        return "too-few" if self.false_alarms.value < low else "kept"

    def record(self) -> dict[str, Any]:
        """Return all figures as plain values."""
        return {
            "n": self.false_alarms.n,
            "alpha": self.alpha,
            "delta": self.delta,
            "threshold": self.threshold,
            **named("false_alarms", self.false_alarms),
            "expected_low": self.band[0],
            "expected_high": self.band[1],
            "promise": self.promise,
            "n_labelled": self.accuracy.n if self.accuracy else 0,
            **named("accuracy", self.accuracy),
        }


def check(
    guarded: GuardedClassifier, images: ImageSet, alpha: float = FALSE_ALARM_RATE, delta: float | None = None
) -> GuardCheck:
    """Count the false alarms of a guard on new ID images, which are all of its classes.

    Args:
        guarded: The guard.
        images: ID images that it has not seen; labels below 0 are unknown.
        alpha: The promised false-alarm rate.
        delta: As in ``GuardedClassifier.threshold``.

    Raises:
        DataError: The guard was made of these images, or they have classes that it does not know.
        ShapeError: The images have another shape.
        SettingError: An alpha or delta that so many calibration images cannot keep.
    """
    images = with_classes(images, guarded.class_names, known_by="the guard")
    if images.classes > guarded.target.classes:
        raise DataError(
            f"{images.name} has labels up to {images.classes - 1}, the guard knows {guarded.target.classes} classes; "
            "give images of these classes, or without labels"
        )
    threshold = guarded.threshold(alpha, delta)
    rejected, right = [], []
    for activations in guarded.batches(images):
        rejected.append(guarded.joint.score(activations) > threshold)
        right.append(predictions(activations.logits))
    # After the pass: the hash of pictures that were just read costs nothing.
    _refuse_known(guarded, images)
    labelled = images.labels >= 0
    accuracy = None
    if labelled.any():
        right_of_labelled = (torch.cat(right) == images.labels)[labelled]
        accuracy = counted_share(int(right_of_labelled.sum()), len(right_of_labelled))
    false_alarms = counted_share(int(torch.cat(rejected).sum()), len(images))
    band = false_alarm_band(len(guarded.calibration), len(images), alpha, delta, level=LEVEL)
    return GuardCheck(alpha, delta, threshold, false_alarms, band, accuracy)


def recalibrated(guarded: GuardedClassifier, images: ImageSet) -> GuardedClassifier:
    """Return the guard with thresholds and p-values for images of another site: network and detector stay as they are.

    The earlier calibration scores, and what was measured at the earlier threshold, are kept under ``about["earlier"]``.

    Args:
        guarded: The guard.
        images: At least 45 ID images of the new site, that the guard has not seen.

    Raises:
        DataError: Too few images, or ones that the guard was made of.
        ShapeError: The images have another shape.
    """
    if len(images) < FEWEST_CALIBRATION:
        raise DataError(
            f"{images.name} has {len(images)} images, expected at least {FEWEST_CALIBRATION} to set a threshold by; "
            f"give {FEWEST_CALIBRATION - len(images)} more"
        )
    images = with_classes(images, guarded.class_names, known_by="the guard")
    calibration = guarded.score(images).sort().values
    _refuse_known(guarded, images)
    about = dict(guarded.about)
    earlier = {"scores": guarded.calibration.tolist()}
    for name in ("calibration", "held_out", "synthetic"):
        if name in about:
            earlier[name] = about.pop(name)
    about["earlier"] = [*about.get("earlier", []), earlier]
    about["calibration"] = {"name": images.name, "hash": images.hash, "count": len(images)}
    return replace(guarded, calibration=calibration, about=about)


def _refuse_known(guarded: GuardedClassifier, images: ImageSet) -> None:
    """Refuse the very images that a guard was made of: their scores say nothing of new ones."""
    sets = [guarded.about.get("data", {}), guarded.about.get("calibration", {})]
    sets += guarded.about.get("splits", {}).values()
    if images.hash in [known.get("hash") for known in sets]:
        raise DataError(f"{images.name} holds images that the guard was made of; give images that it has not seen")
