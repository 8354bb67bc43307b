"""Inversion by pixels: a fixed number of images of every class, each searched for by itself."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor

from invaudit.inversion.image_search import ImageSearch, ImageSearchSettings
from invaudit.inversion.outcome import Outcome
from invaudit.inversion.pixels import run_search
from invaudit.inversion.results import Inversion
from invaudit.models import Target, collect, frozen_eval
from invaudit.models.checkpoints import Checkpoint
from invaudit.models.devices import images_at_once
from invaudit.runtime.errors import SettingError
from invaudit.runtime.files import content_hash


class PixelInversionSettings(ImageSearchSettings):
    """How ``invert_pixels`` searches."""

    per_class: int = Field(default=10, ge=2, le=10_000)
    """Images of each class."""


@dataclass(frozen=True)
class PixelInversion:
    """Images that were searched for by their pixels, and how the search ended.

    Attributes:
        images: (classes, n, C, H, W) float32 in [0, 1], on the CPU.
        settings: How they were searched for.
        history: Records of the batches, in order: step, loss, and each objective.
        outcome: As of an ``Inversion``.
        message: The outcome in words.
    """

    images: Tensor
    settings: PixelInversionSettings
    history: tuple[dict[str, float], ...]
    outcome: Outcome
    message: str

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.images)

    def sample(self, wanted: Tensor, _rng: torch.Generator) -> Tensor:
        """Return images (N, C, H, W) for labels (N,): those of each class in order, none twice.

        Raises:
            SettingError: More images of a class are wanted than there are, or the search diverged.
        """
        if self.outcome == "diverged":
            raise SettingError(f"there is nothing to draw from: {self.message}")
        there_are = self.images.shape[1]
        counts = torch.bincount(wanted, minlength=self.classes)
        if len(counts) > self.classes or int(counts.max()) > there_are:
            raise SettingError(
                f"{int(counts.max())} images of a class are wanted, {there_are} of each were searched for; "
                "set per_class"
            )
        rank = torch.zeros_like(wanted)
        for label in range(self.classes):
            is_of_class = wanted == label
            rank[is_of_class] = torch.arange(int(is_of_class.sum()))
        return self.images[wanted, rank]


def search_pixels(
    target: Target, settings: PixelInversionSettings, rng: torch.Generator, *, checkpoint: Path | None = None
) -> PixelInversion:
    """Search for images of every class of a target by their pixels, without a judgement of what they show.

    Args:
        target: Is borrowed: frozen, in eval mode, and given back as it was.
        settings: How to search.
        rng: CPU generator of everything random.
        checkpoint: File from which a killed run goes on; each batch writes one with its number appended.

    Raises:
        RunFolderError: The checkpoint belongs to another inversion.

    References:
        DeepInversion, arXiv 1912.08795, shown through views of a larger canvas.
    """
    n = target.classes * settings.per_class
    # Every batch has all classes, as the statistics of batch norm layers are those of all classes.
    labels = torch.arange(n) % target.classes
    at_once = images_at_once(target.spec.shape, settings.batch_size)
    identity = content_hash(settings.model_dump_json(), target.hash, rng.get_state().numpy().tobytes())
    searches: list[ImageSearch] = []
    with frozen_eval(target):
        for number, batch_labels in enumerate(labels.tensor_split(math.ceil(n / at_once))):
            file = None
            if checkpoint is not None:
                file = Checkpoint(checkpoint.with_name(f"{checkpoint.name}.{number}"), identity, "inversion")
            search = ImageSearch(target, settings, batch_labels, rng, None)
            run_search(search, file, label="inverting")
            searches.append(search)
        images = torch.cat([search.images for search in searches])
        by_class = images.view(settings.per_class, target.classes, *target.spec.shape).transpose(0, 1)
        history: list[dict[str, float]] = []
        for search in searches:
            history += search.records
        if any(search.diverged for search in searches):
            message = f"a loss was not finite; lower learning_rate (now {settings.learning_rate:g}) or check the target"
            return PixelInversion(by_class, settings, tuple(history), "diverged", message)
        predicted = collect(target, by_class.flatten(0, 1), keep_maps=False).logits.argmax(1)
    is_right = predicted.view(target.classes, -1) == torch.arange(target.classes)[:, None]
    worst_accuracy = float(is_right.double().mean(1).min())
    message = f"inversion accuracy {worst_accuracy:.1%} in the worst class after {settings.steps} steps"
    message += searches[0].objectives.skipped_note
    if worst_accuracy < settings.wanted_accuracy:
        message += f"; under the {settings.wanted_accuracy:.1%} wanted: give more steps"
        return PixelInversion(by_class, settings, tuple(history), "budget", message)
    return PixelInversion(by_class, settings, tuple(history), "converged", message)


def draw_each(inversion: Inversion | PixelInversion, most: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw inversions of each class in turn, as many of each.

    Args:
        inversion: A search by pixels has those that it found, which may be fewer than ``most``.
        most: Of each class.
        rng: CPU generator of noise and conditions.

    Returns:
        Images (N, C, H, W) float32 in [0, 1], and the class (N,) int64 that each was made for.

    Raises:
        SettingError: The search diverged.
    """
    if isinstance(inversion, PixelInversion):
        most = min(most, inversion.images.shape[1])
    labels = torch.arange(inversion.classes).repeat_interleave(most)
    return inversion.sample(labels, rng), labels
