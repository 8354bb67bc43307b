"""Reconstruction by DeepInversion: the pixels themselves are optimised, from noise."""

import io
import math
from pathlib import Path

import torch
from pydantic import Field, field_validator
from torch import Tensor

from invaudit.inversion import OBJECTIVES, sample_condition
from invaudit.inversion.diagnostics import spread
from invaudit.inversion.observing import observed, unserved
from invaudit.inversion.settings import weighable
from invaudit.leakage.reconstruction import Outcome, Reconstructions, balanced_labels, centre_of
from invaudit.models import Target, collect, frozen_eval, seed_torch
from invaudit.runtime.console import progress
from invaudit.runtime.errors import RunFolderError
from invaudit.runtime.files import content_hash, write_bytes
from invaudit.runtime.settings import Settings


class DeepInversionSettings(Settings):
    """How ``deepinversion`` reconstructs. Defaults were found on shadow targets, never on audited members.

    Shadow targets: perceptrons 64-300-10 that fit 40 of scikit-learn's digits, and small convolutional networks with
    batch norm, seeds 100 to 105.
    """

    images: int = Field(default=80, ge=1)
    """Images optimised, balanced over the classes; each has a start of its own."""

    weights: dict[str, float] = Field(
        default={"cross-entropy": 1.0, "batch-norm": 0.1, "distance": 0.03, "total-variation": 0.001}
    )
    """Weight of each objective. Without batch norm in the target, or without reference images, their terms are
    skipped, and little more than the class is asked for."""

    steps: int = Field(default=500, ge=1)
    """Optimiser steps."""

    batch_size: int = Field(default=256, ge=1)
    """Most images optimised together, in batches of one size; the batch-norm statistics are those of a batch."""

    learning_rate: float = Field(default=0.05, gt=0)
    """Of Adam."""

    noise: float = Field(default=0.3, ge=0)
    """Standard deviation of the first images around the mean of the reference, or around 0.5 without reference."""

    jitter: float = Field(default=1 / 16, ge=0, le=1)
    """Largest random shift in a step as a share of the side: 2 pixels of 32, as in the paper; none under 12."""

    perturbation: float = Field(default=0.1, gt=0, le=1)
    """Change of every pixel for the objectives of perturbed images, if they get a weight."""

    eval_every: int = Field(default=100, ge=1)
    """Steps between two records of the loss, which also write the checkpoint."""

    wanted_accuracy: float = Field(default=0.95, gt=0, le=1)
    """Share of the images of every class that the target must give this class."""

    least_spread: float = Field(default=0.02, ge=0)
    """Spread (RMS distance of a class's images to their mean, in [0, 1]) under which they count as copies."""

    _weighable = field_validator("weights")(weighable)


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
        settings: How.
        rng: CPU generator of everything random.
        reference: (M, C, H, W) in [0, 1], images like the members that hold no pool image.
        checkpoint: File from which a killed run goes on; each batch writes one with its number appended.

    Raises:
        ShapeError: The reference has images of another shape.
        RunFolderError: The checkpoint belongs to another run.

    Source: Yin et al., arXiv 1912.08795, without the competing student. Pixels are clipped to [0, 1] in every step,
    and the starts lie around the mean of the data, which is the zero of their normalised images.
    """
    labels, centre = balanced_labels(target.classes, settings.images), centre_of(reference, target.spec.shape)
    searches: list[_Search] = []
    with frozen_eval(target):
        for number, part in enumerate(labels.tensor_split(math.ceil(len(labels) / settings.batch_size))):
            search = _Search(target, settings, part, rng, centre)
            search.run(checkpoint and checkpoint.with_name(f"{checkpoint.name}.{number}"))
            searches.append(search)
        return _result(target, settings, labels, searches)


class _Search:
    """The images of one batch, and the losses so far."""

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
        wanted = {name: weight for name, weight in settings.weights.items() if weight}
        self.skipped = {name: reason for name, reason in unserved(target, centre).items() if name in wanted}
        self.weights = {name: weight for name, weight in wanted.items() if name not in self.skipped}
        self.condition = sample_condition("label", labels, rng, classes=target.classes).to(target.device)
        self.identity = self._identity(centre)
        mean = torch.full(target.spec.shape, 0.5) if centre is None else centre.cpu()
        noise = torch.randn((len(labels), *target.spec.shape), generator=rng)
        self.images = (mean + settings.noise * noise).clamp(0, 1).to(target.device).requires_grad_()
        self.optimizer = torch.optim.Adam([self.images], settings.learning_rate)
        self.rows: list[dict[str, float]] = []

    @property
    def diverged(self) -> bool:
        """Whether some loss or pixel was not finite."""
        return not (all(math.isfinite(row["loss"]) for row in self.rows) and bool(self.images.isfinite().all()))

    def run(self, checkpoint: Path | None) -> None:
        """Take all steps that are still to be done."""
        if checkpoint and checkpoint.is_file():
            self._resume(checkpoint)
        settings = self.settings
        parts = range(len(self.rows) * settings.eval_every, settings.steps, settings.eval_every)
        for start in progress(parts, total=len(parts), label="DeepInversion"):
            if self.diverged:
                return
            self._advance(min(settings.eval_every, settings.steps - start))
            if checkpoint:
                self._save(checkpoint)

    def _advance(self, steps: int) -> None:
        scale = torch.tensor(list(self.weights.values()), device=self.target.device)
        reach = [round(self.settings.jitter * side) for side in self.target.spec.shape[1:]]
        observing = observed(self.target, self.weights, perturbation=self.settings.perturbation, centre=self.centre)
        rows = []
        with seed_torch(self.rng), observing as observe:
            for _ in range(steps):
                shift = [int(torch.randint(-most, most + 1, (), generator=self.rng)) for most in reach]
                step = observe(self.images.roll(shift, (2, 3)), self.condition)
                terms = torch.stack([OBJECTIVES[name](step) for name in self.weights])
                self.optimizer.zero_grad()
                (terms * scale).sum().backward()
                self.optimizer.step()
                with torch.no_grad():
                    self.images.clamp_(0, 1)
                rows.append(terms.detach())
        means = torch.stack(rows).double().mean(0)
        done = steps + int(self.rows[-1]["step"] if self.rows else 0)
        terms = dict(zip(self.weights, means.tolist(), strict=True))
        self.rows.append({"step": float(done), "loss": float((means * scale).sum()), **terms})

    def _identity(self, centre: Tensor | None) -> str:
        parts = [self.settings.model_dump_json(), self.target.hash, self.rng.get_state().numpy().tobytes()]
        return content_hash(*parts, b"" if centre is None else centre.cpu().numpy().tobytes())

    def _save(self, path: Path) -> None:
        buffer = io.BytesIO()
        state = {"identity": self.identity, "rng": self.rng.get_state(), "images": self.images.detach()}
        torch.save({**state, "optimizer": self.optimizer.state_dict(), "rows": self.rows}, buffer)
        write_bytes(path, buffer.getvalue())

    def _resume(self, path: Path) -> None:
        saved = torch.load(path, weights_only=True, map_location="cpu")
        if saved.get("identity") != self.identity:
            raise RunFolderError(f"{path} is the checkpoint of another search; remove it or choose another --out")
        self.rng.set_state(saved["rng"])
        with torch.no_grad():
            self.images.copy_(saved["images"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.rows = saved["rows"]


def _result(
    target: Target, settings: DeepInversionSettings, labels: Tensor, searches: list[_Search]
) -> Reconstructions:
    history = {name: [row[name] for search in searches for row in search.rows] for name in searches[0].rows[0]}
    images = torch.cat([search.images.detach().cpu() for search in searches])
    if any(search.diverged for search in searches):
        text = f"a loss was not finite; lower learning_rate (now {settings.learning_rate:g}) or check the target"
        return Reconstructions(images[:0], labels[:0], labels[:0], "diverged", history, text)
    hits = collect(target, images, keep_maps=False).logits.argmax(1) == labels
    counts = torch.bincount(labels)
    lowest = float((torch.bincount(labels, hits.double()) / counts).min())
    copies = ((spread(images, labels, len(counts)) < settings.least_spread) & (counts > 1)).nonzero()[:, 0].tolist()
    outcome: Outcome = "converged" if lowest >= settings.wanted_accuracy else "budget"
    text = f"the target gives {lowest:.1%} of the images of the worst class their class"
    text += "".join(f"; objective {name} skipped, {reason}" for name, reason in searches[0].skipped.items())
    if copies:
        outcome = "collapsed"
        found = f"images of class {', '.join(map(str, copies))} are copies of one image"
        text += f"; {found}: give cosine a weight, or take fewer steps"
    return Reconstructions(images, labels, torch.zeros_like(labels), outcome, history, text)
