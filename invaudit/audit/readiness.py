"""OOD readiness: what a model, as it is, makes of images of other kinds, by our detector and six of the library's."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from invaudit.audit.attempts import attempt
from invaudit.data import NOISES, ImageSet, Splits, seeded_rng, split
from invaudit.models import Activations, Target, collect
from invaudit.ood import FitInputs, make_detector
from invaudit.ood.fitting import split_sizes
from invaudit.ood.guarded import FALSE_ALARM_RATE
from invaudit.records import ReadinessRow, scores_key
from invaudit.records.names import CALIBRATE, GIVEN, ID_TEST
from invaudit.stats import auroc_interval, conformal_threshold

DETECTORS = ("joint", "GEN", "EnergyBased", "KNN", "ViM", "fDBD", "RMD")
"""Ours, and six of the library's that were fixed beforehand: what reads logits or features, at its defaults."""
NOISE_IMAGES = 200
"""Images of each kind of noise."""


class Readiness(NamedTuple):
    """What a model makes of images of other kinds.

    Attributes:
        rows: One for each detector and set; a detector that cannot run has rows that say why.
        scores: Scores by `scores_key` of detector and set, higher = more OOD, also of the set that sets the threshold.
    """

    rows: list[ReadinessRow]
    scores: dict[str, np.ndarray]


def readiness(
    target: Target,
    images: ImageSet,
    ood: Mapping[str, ImageSet],
    detectors: Sequence[str] = DETECTORS,
    *,
    seed: int = 0,
) -> Readiness:
    """Measure how well detectors tell other images from those of the model's kind; the model is taken as it is.

    Args:
        target: The model.
        images: Images of its kind with their classes, which it was not trained on: some fit the detectors, some set
            the thresholds, the rest is tested on.
        ood: Further sets of other images, by name.
        detectors: Names of detectors.
        seed: Seed of the split and of what is made.

    Raises:
        InputError: Too few images.
    """
    splits = split(images, split_sizes(len(images)), seeded_rng(seed, "readiness/split"))
    sets = {ID_TEST: ("id", collect(target, splits.test, keep_maps=False))}
    others = _noise(splits.fit, seed) | {name: (GIVEN, other) for name, other in ood.items()}
    for name, (group, other) in others.items():
        sets[name] = (group, collect(target, other, keep_maps=False))
    scored_sets = {name: activations for name, (_, activations) in sets.items()}
    scored_sets[CALIBRATE] = collect(target, splits.calibrate, keep_maps=False)
    inputs = _fit_inputs(target, splits)
    rows: list[ReadinessRow] = []
    scores: dict[str, np.ndarray] = {}
    for name in detectors:
        own = replace(inputs, rng=seeded_rng(seed, f"readiness/{name}"))
        scored = attempt(name, partial(_scored, name, own, scored_sets))
        scores |= scored.value or {}
        for set_name, (group, _) in sets.items():
            row = scored.record(ReadinessRow, detector=name, ood_set=set_name, group=group)
            rows.append(row if scored.value is None else measured_row(row, scores))
    return Readiness(rows, scores)


def _scored(name: str, inputs: FitInputs, sets: Mapping[str, Activations]) -> dict[str, np.ndarray]:
    """Return the scores of a detector by their keys."""
    detector = make_detector(name).fit(inputs)
    return {scores_key(name, set_name): detector.score(activations).numpy() for set_name, activations in sets.items()}


def _noise(like: ImageSet, seed: int) -> dict[str, tuple[str, ImageSet]]:
    """Return images of each kind of noise, by name with their group."""
    made: dict[str, tuple[str, ImageSet]] = {}
    for name, noise in NOISES.items():
        images = noise((NOISE_IMAGES, *like.shape), seeded_rng(seed, f"readiness/noise/{name}"))
        pixels = like.quantise(images)
        made[name] = ("noise", ImageSet(name, pixels, torch.full((len(pixels),), -1)))
    return made


def _fit_inputs(target: Target, splits: Splits) -> FitInputs:
    train = collect(target, splits.train, keep_maps=False)
    fit = collect(target, splits.fit, keep_maps=False)
    return FitInputs(
        target=target,
        train=train,
        train_labels=splits.train.labels,
        maps=train,
        maps_labels=splits.train.labels,
        fit=fit,
        fit_labels=splits.fit.labels,
        rng=torch.Generator(),
        held_out=splits.fit,
    )


def measured_row(row: ReadinessRow, scores: Mapping[str, np.ndarray]) -> ReadinessRow:
    """Return a row with its figures, from the scores of all sets by their keys."""
    own, other = (scores[scores_key(row.detector, name)] for name in (ID_TEST, row.ood_set))
    rejected = float(rejections(scores, row.detector, row.ood_set).mean())
    figures: dict[str, float | None] = {"n": len(other), "rejected": rejected}
    if row.ood_set != ID_TEST:
        interval = auroc_interval(own, other)
        figures |= {"auroc": interval.value, "auroc_low": interval.low, "auroc_high": interval.high}
    return row.model_copy(update=figures)


def rejections(scores: Mapping[str, np.ndarray], detector: str, image_set: str) -> NDArray[np.bool_]:
    """Return which images of a set a detector rejects at the threshold for 5 % false alarms, (N,)."""
    threshold = conformal_threshold(scores[scores_key(detector, CALIBRATE)], FALSE_ALARM_RATE)
    return scores[scores_key(detector, image_set)] > threshold
