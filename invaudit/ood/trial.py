"""What a fitted guard is worth: figures on held-out images, and on synthetic outliers."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from invaudit.data import ImageSet
from invaudit.models import Target, collect
from invaudit.models.suitability import Suitability
from invaudit.ood.guarded import FALSE_ALARM_RATE, GuardedClassifier
from invaudit.ood.scores import predictions
from invaudit.runtime.errors import SettingError
from invaudit.stats import Estimate, counted_share

WEAK = 0.5
"""A guard that rejects less than this share of synthetic outliers is called weak. Most of them are plain noise, strokes
and patterns: where more of them pass than are stopped, little else is stopped. Guards of digits reject 78 to 96 % of
them, one of a network that gets 36 % of CIFAR-10 right rejects 35 %."""


def held_out_figures(guarded: GuardedClassifier, test: ImageSet, before: Target | None = None) -> dict[str, Any]:
    """Return accuracy and false alarms on images that nothing has used, from one pass, with 95 % intervals.

    A garbage answer on an ID image is an error.

    Args:
        guarded: The guard.
        test: ID images with their classes.
        before: The network as it was before training, where there was one.

    Returns:
        ``n``; ``id_accuracy``, ``id_accuracy_before`` and ``false_alarms_at_5_percent``, each with ``_low`` and
        ``_high``; None where there is no such figure: no network before, or too few calibration images for 5 %.
    """
    activations = guarded.activations(test)
    right = int((predictions(activations.logits) == test.labels).sum())
    figures: dict[str, Any] = {"n": len(test)}
    figures |= named("id_accuracy", counted_share(right, len(test)))
    right_before = None
    if before is not None:
        right_before = counted_share(_right(before, test), len(test))
    figures |= named("id_accuracy_before", right_before)
    threshold = usual_threshold(guarded)
    alarms = None
    if threshold is not None:
        alarms = counted_share(int((guarded.joint.score(activations) > threshold).sum()), len(test))
    return figures | named("false_alarms_at_5_percent", alarms)


def caught_outliers(guarded: GuardedClassifier, scores: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """Return what share of synthetic outliers the guard rejects at a false-alarm rate of 5 %.

    Args:
        guarded: The guard.
        scores: Scores (n,) of outliers by family. The parts of the detector are weighed by them, so a guard that fails
            on these is weak, while one that catches them may still miss outliers of other kinds.

    Returns:
        ``caught_at_5_percent`` by family, their ``mean``, and whether the guard is ``weak``; None where there are too
        few calibration images for 5 %.
    """
    threshold = usual_threshold(guarded)
    if threshold is None:
        return None
    caught = {}
    for family, values in scores.items():
        caught[family] = float((values > threshold).double().mean())
    mean = sum(caught.values()) / len(caught)
    return {"caught_at_5_percent": caught, "mean": mean, "weak": mean < WEAK}


def suitability_figures(found: Suitability | None) -> dict[str, Any] | None:
    """Return how a network did on the images before anything else: ``n``, ``accuracy`` and ``advice``; None: unknown.

    The advice says what preprocessing, or order of classes, would fit better, and is None where nothing would.
    """
    if found is None:
        return None
    return {"n": found.accuracy.n, **named("accuracy", found.accuracy), "advice": found.advice}


def named(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    """Return a figure and the ends of its interval under a name, as the columns of a table have them."""
    if estimate is None:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"))
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _right(target: Target, images: ImageSet) -> int:
    logits = collect(target, images, keep_maps=False).logits
    return int((predictions(logits) == images.labels).sum())


def usual_threshold(guarded: GuardedClassifier) -> float | None:
    """Return the threshold at 5 %, or None where so few calibration images cannot keep it."""
    try:
        return guarded.threshold(FALSE_ALARM_RATE)
    except SettingError:
        return None
