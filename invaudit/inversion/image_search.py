"""The search for images by their pixels, from noise (DeepInversion): settings, and one batch of it."""

import math
from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from invaudit.inversion.conditions import sample_condition
from invaudit.inversion.observing import observed, serve
from invaudit.inversion.pixels import optimise_pixels
from invaudit.inversion.settings import (
    LeastSpread,
    ObjectiveWeights,
    RecordEvery,
    Schedule,
    WantedAccuracy,
    set_rate,
)
from invaudit.inversion.views import ViewSettings, middle, random_views
from invaudit.models import Target
from invaudit.models.devices import seed_torch
from invaudit.runtime.settings import Images, Rate


class ImageSearchSettings(ViewSettings):
    """How images are searched for by their pixels; each has a start of its own.

    References:
        Yin et al., arXiv 1912.08795, without the competing student. Pixels are clipped to [0, 1] in every step.
    """

    weights: ObjectiveWeights = Field(default={"cross-entropy": 1.0, "batch-norm-scaled": 10.0, "total-variation": 0.1})
    """Weight of each objective. Without batch norm in the target its term is skipped, and little more than the class is
    asked for."""

    steps: int = Field(default=500, ge=1)
    """Optimiser steps."""

    batch_size: Images = 256
    """Most images optimised together, in batches of one size; the batch-norm statistics are those of a batch."""

    learning_rate: Rate = 0.05
    """Learning rate of Adam."""

    schedule: Schedule = "constant"
    """How the learning rate goes on: ``constant``, or down to 0 along half a cosine."""

    noise: float = Field(default=0.3, ge=0, le=100)
    """Standard deviation of the first images around the mean of the reference, or around 0.5 without reference."""

    jitter: float = Field(default=0.0, ge=0, le=1)
    """Largest random shift in a step as a share of the side, what leaves on one side coming in on the other: 1/16 in
    the paper. A margin shifts without that seam."""

    perturbation: float = Field(default=0.1, gt=0, le=1)
    """Change of every pixel for the objectives of perturbed images, if they get a weight."""

    eval_every: RecordEvery = 100
    """Steps between two records of the loss, which also write the checkpoint."""

    wanted_accuracy: WantedAccuracy = 0.95
    """Share of the images of every class that the target must give this class."""

    least_spread: LeastSpread = 0.02
    """Spread (RMS distance of a class's images to their mean, in [0, 1]) under which they count as copies."""


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
        settings: ImageSearchSettings,
        labels: Tensor,
        rng: torch.Generator,
        centre: Tensor | None,
    ) -> None:
        self.target, self.settings, self.rng = target, settings, rng
        self.centre = None if centre is None else centre.to(target.device)
        self.objectives = serve(settings.weights, target, centre)
        self.condition = sample_condition("label", labels, rng, classes=target.classes).to(target.device)
        drawn_shape = settings.canvas(target.spec.shape)
        mean = torch.full(drawn_shape, 0.5) if centre is None else _widened(centre.cpu(), drawn_shape)
        noise = torch.randn((len(labels), *drawn_shape), generator=rng)
        self.drawn = (mean + settings.noise * noise).clamp(0, 1).to(target.device).requires_grad_()
        self.optimizer = torch.optim.Adam([self.drawn], settings.learning_rate)
        self.records: list[dict[str, float]] = []

    @property
    def images(self) -> Tensor:
        """The images (N, C, H, W) as they are now, on the CPU."""
        return middle(self.drawn.detach(), self.settings, self.target.spec.shape).cpu()

    @property
    def diverged(self) -> bool:
        """Whether some loss or pixel was not finite."""
        losses = [record["loss"] for record in self.records]
        return not (all(map(math.isfinite, losses)) and bool(self.drawn.isfinite().all()))

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
                terms = objectives.terms(observe(self._views(), self.condition))
                terms_by_step.append(terms.detach())
                return (terms * scale).sum()

            def slow_down(step: int) -> None:
                set_rate(self.optimizer, settings.schedule, settings.learning_rate, step, settings.steps)

            optimise_pixels(self.drawn, loss, self.optimizer, steps, before_step=slow_down)
        means = torch.stack(terms_by_step).double().mean(0)
        record = {"step": float(steps.stop), "loss": float((means * scale).sum())}
        record.update(zip(objectives.weights, means.tolist(), strict=True))
        self.records.append(record)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the rest of the search depends on."""
        return {
            "rng": self.rng.get_state(),
            "images": self.drawn.detach(),
            "optimizer": self.optimizer.state_dict(),
            "rows": self.records,
        }

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Take the state of a checkpoint."""
        self.rng.set_state(state["rng"])
        with torch.no_grad():
            self.drawn.copy_(state["images"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.records = state["rows"]

    def _views(self) -> Tensor:
        """Return views of the images, all rolled by one random shift of up to ``jitter`` of their sides."""
        shifts = []
        for side in self.target.spec.shape[1:]:
            largest = round(self.settings.jitter * side)
            shifts.append(int(torch.randint(-largest, largest + 1, (), generator=self.rng)))
        rolled = self.drawn.roll(shifts, (2, 3))
        return random_views(rolled, self.settings, self.target.spec.shape) if self.settings.has_views else rolled


def _widened(image: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Return an image (C, H, W) with its border repeated until it has a shape."""
    top, left = (shape[1] - image.shape[1]) // 2, (shape[2] - image.shape[2]) // 2
    return functional.pad(image, (left, left, top, top), mode="replicate")
