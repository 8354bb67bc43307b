"""The honest outcome: an inversion has converged when its images are of their class and show something."""

from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from invaudit.data import ImageSet
from invaudit.inversion.gallery_judgement import Gallery, GalleryJudgement, judge_gallery, small_changes
from invaudit.inversion.pixel_inversion import PixelInversion, draw_each
from invaudit.inversion.results import Inversion
from invaudit.models import Target, collect
from invaudit.models.suitability import first_norm_divergence

LOOKED_AT = 20
"""Images of each class that are judged."""
AnyInversion = TypeVar("AnyInversion", Inversion, PixelInversion)


def judged(
    inversion: AnyInversion, target: Target, rng: torch.Generator, *, real: ImageSet | None = None
) -> tuple[AnyInversion, GalleryJudgement | None]:
    """Return an inversion with the outcome that its images deserve, and what was seen of them.

    One that converged, or whose images were found to be copies, is looked at: its outcome may become ``uninformative``
    or ``collapsed``. A diverged one is left as it is.

    Args:
        inversion: What a search found.
        target: What was inverted.
        rng: Source of noise, conditions and small changes.
        real: Held-out real images of the target's classes, where there are any: they set the limits.
    """
    if inversion.outcome == "diverged":
        return inversion, None
    gallery = _gallery(target, *draw_each(inversion, LOOKED_AT, rng), rng)
    judgement = judge_gallery(gallery, None if real is None else _real_gallery(target, real, rng))
    if inversion.outcome != "converged" or judgement.outcome is None:
        return inversion, judgement
    message = f"{inversion.message}; but {judgement.message}"
    return replace(inversion, outcome=judgement.outcome, message=message), judgement


def _gallery(target: Target, images: Tensor, labels: Tensor, rng: torch.Generator) -> Gallery:
    activations = collect(target, images, keep_maps=False)
    keeps = torch.ones(len(images), dtype=torch.bool)
    predicted = activations.logits.argmax(1)
    for changed in small_changes(images, rng):
        keeps &= collect(target, changed, keep_maps=False).logits.argmax(1) == predicted
    present = labels.unique()
    return Gallery(
        pixels=[images[labels == label].flatten(1) for label in present],
        features=[activations.features[labels == label] for label in present],
        stability=float(keeps.double().mean()),
        statistics_gap=first_norm_divergence(target, images),
    )


def _real_gallery(target: Target, real: ImageSet, rng: torch.Generator) -> Gallery | None:
    """Return the gallery of up to ``LOOKED_AT`` real images of each class; None where two classes lack images."""
    rows: list[Tensor] = []
    for label in range(target.classes):
        of_class = (real.labels == label).nonzero()[:, 0]
        if len(of_class) > 1:
            rows.append(of_class[:LOOKED_AT])
    if len(rows) < 2:
        return None
    chosen = torch.cat(rows)
    return _gallery(target, real.floats(chosen), real.labels[chosen], rng)
