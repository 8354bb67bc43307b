"""Reconstruction by DeepInversion: the pixels themselves are optimised, from noise."""

import math
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from invaudit.inversion import sample_condition
from invaudit.inversion.diagnostics import spread
from invaudit.inversion.observing import observed, serve
from invaudit.inversion.outcome import Outcome
from invaudit.inversion.pixels import optimise_pixels, run_search
from invaudit.inversion.settings import LeastSpread, ObjectiveWeights, RecordEvery, WantedAccuracy
from invaudit.leakage.reconstruction import Reconstructions, balanced_labels, centre_of, history_of, search_identity
from invaudit.models import Target, collect, frozen_eval
from invaudit.models.checkpoints import Checkpoint
from invaudit.models.devices import seed_torch
from invaudit.runtime.settings import Images, Rate, Settings


class DeepInversionSettings(Settings):
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

    steps: int = Field(default=500, ge=1)
    """Optimiser steps."""

    batch_size: Images = 256
    """Most images optimised together, in batches of one size; the batch-norm statistics are those of a batch."""

    learning_rate: Rate = 0.05
    """Learning rate of Adam."""

    noise: float = Field(default=0.3, ge=0, le=100)
    """Standard deviation of the first images around the mean of the reference, or around 0.5 without reference."""

    jitter: float = Field(default=1 / 16, ge=0, le=1)
    """Largest random shift in a step as a share of the side: 2 pixels of 32, as in the paper; none under 12."""

    perturbation: float = Field(default=0.1, gt=0, le=1)
    """Change of every pixel for the objectives of perturbed images, if they get a weight."""

    eval_every: RecordEvery = 100
    """Steps between two records of the loss, which also write the checkpoint."""

    wanted_accuracy: WantedAccuracy = 0.95
    """Share of the images of every class that the target must give this class."""

    least_spread: LeastSpread = 0.02
    """Spread (RMS distance of a class's images to their mean, in [0, 1]) under which they count as copies."""


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


class ImageSearch:
    """The search for the images of one batch.

    Args:
        target: In eval mode and frozen.
        settings: How to search.
        labels: (N,) int64, the wanted class of each image.
        rng: CPU generator of everything random.
        centre: (C, H, W), mean of the reference images, where there are any.
    """

    def __init__(
        self,
        target: Target,
        settings: DeepInversionSettings,
        labels: Tensor,
        rng: torch.Generator,
        centre: Tensor | None,
    ) -> None:
        self.target, self.settings, self.rng = target, settings, rng
        self.centre = None if centre is None else centre.to(target.device)
        self.objectives = serve(settings.weights, target, centre)
        self.condition = sample_condition("label", labels, rng, classes=target.classes).to(target.device)
        mean = torch.full(target.spec.shape, 0.5) if centre is None else centre.cpu()
        noise = torch.randn((len(labels), *target.spec.shape), generator=rng)
        self.images = (mean + settings.noise * noise).clamp(0, 1).to(target.device).requires_grad_()
        self.optimizer = torch.optim.Adam([self.images], settings.learning_rate)
        self.records: list[dict[str, float]] = []

    @property
    def diverged(self) -> bool:
        """Whether some loss or pixel was not finite."""
        losses = [record["loss"] for record in self.records]
        return not (all(map(math.isfinite, losses)) and bool(self.images.isfinite().all()))

    @property
    def records_left(self) -> int:
        """Number of records still to be made; none after a loss that was not finite."""
        if self.diverged:
            return 0
        return math.ceil(self.settings.steps / self.settings.eval_every) - len(self.records)

    def advance(self) -> None:
        """Take the steps to the next record."""
        settings, objectives = self.settings, self.objectives
        done = len(self.records) * settings.eval_every
        steps = range(done, min(done + settings.eval_every, settings.steps))
        scale = objectives.scale(self.target.device)
        observing = observed(self.target, objectives.weights, perturbation=settings.perturbation, centre=self.centre)
        terms_by_step = []
        with seed_torch(self.rng), observing as observe:

            def loss(_step: int) -> Tensor:
                terms = objectives.terms(observe(self._shifted(), self.condition))
                terms_by_step.append(terms.detach())
                return (terms * scale).sum()

            optimise_pixels(self.images, loss, self.optimizer, steps)
        means = torch.stack(terms_by_step).double().mean(0)
        record = {"step": float(steps.stop), "loss": float((means * scale).sum())}
        record.update(zip(objectives.weights, means.tolist(), strict=True))
        self.records.append(record)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the rest of the search depends on."""
        return {
            "rng": self.rng.get_state(),
            "images": self.images.detach(),
            "optimizer": self.optimizer.state_dict(),
            "rows": self.records,
        }

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Take the state of a checkpoint."""
        self.rng.set_state(state["rng"])
        with torch.no_grad():
            self.images.copy_(state["images"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.records = state["rows"]

    def _shifted(self) -> Tensor:
        """Return the images, all rolled by one random shift of up to ``jitter`` of their sides."""
        shifts = []
        for side in self.target.spec.shape[1:]:
            largest = round(self.settings.jitter * side)
            shifts.append(int(torch.randint(-largest, largest + 1, (), generator=self.rng)))
        return self.images.roll(shifts, (2, 3))


def _reconstructions(
    target: Target, settings: DeepInversionSettings, labels: Tensor, searches: list[ImageSearch]
) -> Reconstructions:
    """Return the images of all batches and how their searches ended."""
    records: list[dict[str, float]] = []
    images_by_batch: list[Tensor] = []
    has_diverged = False
    for search in searches:
        records += search.records
        images_by_batch.append(search.images.detach().cpu())
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
