"""Reconstruction by DeepInversion: the pixels themselves are optimised, from noise."""

import math
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor

from invaudit.inversion.diagnostics import spread
from invaudit.inversion.image_search import ImageSearch, ImageSearchSettings
from invaudit.inversion.outcome import Outcome
from invaudit.inversion.pixels import run_search
from invaudit.inversion.settings import ObjectiveWeights
from invaudit.leakage.reconstruction import Reconstructions, balanced_labels, centre_of, history_of, search_identity
from invaudit.models import Target, collect, frozen_eval
from invaudit.models.checkpoints import Checkpoint
from invaudit.runtime.settings import Images


class DeepInversionSettings(ImageSearchSettings):
    """How ``deepinversion`` reconstructs. Defaults were found on shadow targets, never on audited members.

    Shadow targets: perceptrons 64-300-10 that fit 40 of scikit-learn's digits, and small convolutional networks with
    batch norm, seeds 100 to 105.
    """

    images: Images = 80
    """Images optimised, balanced over the classes; each has a start of its own."""

    weights: ObjectiveWeights = Field(
        default={"cross-entropy": 1.0, "batch-norm": 0.1, "distance": 0.03, "total-variation": 0.001}
    )
    """Weight of each objective. Without batch norm in the target, or without reference images, their terms are
    skipped, and little more than the class is asked for."""

    jitter: float = Field(default=1 / 16, ge=0, le=1)
    """Largest random shift in a step as a share of the side: 2 pixels of 32, as in the paper; none under 12."""


def deepinversion(
    target: Target,
    settings: DeepInversionSettings,
    rng: torch.Generator,
    *,
    reference: Tensor | None = None,
    checkpoint: Path | None = None,
) -> Reconstructions:
    """Optimise images until the target gives them their classes and the statistics of its training images.

    Args:
        target: Is borrowed: frozen, in eval mode, and given back as it was.
        settings: How to search.
        rng: CPU generator of everything random.
        reference: (M, C, H, W) in [0, 1], images like the members that hold no pool image.
        checkpoint: File from which a killed run goes on; each batch writes one with its number appended.

    Raises:
        ShapeError: The reference has images of another shape.
        RunFolderError: The checkpoint belongs to another run.

    References:
        Yin et al., arXiv 1912.08795, without the competing student. Pixels are clipped to [0, 1] in every step, and
        the starts lie around the mean of the data, which is the zero of their normalised images.
    """
    labels, centre = balanced_labels(target.classes, settings.images), centre_of(reference, target.spec.shape)
    searches: list[ImageSearch] = []
    with frozen_eval(target):
        for number, batch_labels in enumerate(labels.tensor_split(math.ceil(len(labels) / settings.batch_size))):
            file = None
            if checkpoint is not None:
                path = checkpoint.with_name(f"{checkpoint.name}.{number}")
                file = Checkpoint(path, search_identity(target, settings, rng, centre), "search")
            search = ImageSearch(target, settings, batch_labels, rng, centre)
            run_search(search, file, label="DeepInversion")
            searches.append(search)
        return _reconstructions(target, settings, labels, searches)


def _reconstructions(
    target: Target, settings: DeepInversionSettings, labels: Tensor, searches: list[ImageSearch]
) -> Reconstructions:
    """Return the images of all batches and how their searches ended."""
    records: list[dict[str, float]] = []
    images_by_batch: list[Tensor] = []
    has_diverged = False
    for search in searches:
        records += search.records
        images_by_batch.append(search.images)
        has_diverged = has_diverged or search.diverged
    history, images = history_of(records), torch.cat(images_by_batch)
    if has_diverged:
        message = f"a loss was not finite; lower learning_rate (now {settings.learning_rate:g}) or check the target"
        return Reconstructions(images[:0], labels[:0], labels[:0], "diverged", history, message)
    hits = collect(target, images, keep_maps=False).logits.argmax(1) == labels
    counts = torch.bincount(labels)
    worst_accuracy = float((torch.bincount(labels, hits.double()) / counts).min())
    outcome: Outcome = "converged" if worst_accuracy >= settings.wanted_accuracy else "budget"
    message = f"the target gives {worst_accuracy:.1%} of the images of the worst class their class"
    message += searches[0].objectives.skipped_note
    # One image alone has no spread, and is no copy.
    alike = (spread(images, labels, len(counts)) < settings.least_spread) & (counts > 1)
    if alike.any():
        outcome = "collapsed"
        copied = ", ".join(map(str, alike.nonzero()[:, 0].tolist()))
        message += f"; images of class {copied} are copies of one image: give cosine a weight, or take fewer steps"
    return Reconstructions(images, labels, torch.zeros_like(labels), outcome, history, message)
