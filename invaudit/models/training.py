"""The training loop: plain, readable, resumable."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from invaudit.data import ImageSet
from invaudit.models.checkpoints import Checkpoint
from invaudit.models.devices import autocast, seed_torch
from invaudit.models.target import Target
from invaudit.runtime.console import progress
from invaudit.runtime.errors import SettingError
from invaudit.runtime.files import content_hash
from invaudit.runtime.settings import Batch, Rate, Settings


class TrainingSettings(Settings):
    """How a classifier is trained.

    AdamW with a one-cycle learning rate (Smith and Topin, arXiv 1708.07120) reaches a good accuracy in few epochs.
    """

    epochs: int = Field(default=8, ge=1)
    """Passes over the training images."""

    batch_size: Batch = 128
    """ID images in a step."""

    learning_rate: Rate = 4e-3
    """Highest learning rate of the one-cycle schedule."""

    weight_decay: float = Field(default=5e-4, ge=0, le=1_000)
    """Weight decay of AdamW."""

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of each label that is spread evenly over the classes."""

    shift: int = Field(default=0, ge=0, le=1_000)
    """Largest random shift of ID images, in pixels (0: none)."""

    flip: bool = False
    """Mirror half of the ID images, left and right: for photographs, not for digits."""

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of the passes; ``auto`` takes bfloat16 where the device is fast at it."""

    def steps_per_epoch(self, n: int) -> int:
        """Return the number of batches that n images make, the last one perhaps a smaller one; see ``_batches``."""
        whole_batches, images_left = divmod(n, self.batch_size)
        return max(1, whole_batches + (images_left > 1))


class Stateful(Protocol):
    """An object whose state a checkpoint can hold."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: Any, /) -> Any: ...


@dataclass(frozen=True)
class Outliers:
    """Images of no class, which join the ID images of every step.

    Attributes:
        draw: ``draw(n, images, labels) -> (n, C, H, W)``, for the ID images and labels of a batch.
        per_image: Number of outliers for each ID image; at least one joins every step.
        weight: Weight of each outlier in the loss.
    """

    draw: Callable[[int, Tensor, Tensor], Tensor]
    per_image: float
    weight: float


@dataclass
class History:
    """How a training went.

    Attributes:
        steps: Optimiser steps.
        loss: Mean loss of each epoch.
        seconds: Wall time, without epochs that a kill took.
    """

    steps: int
    loss: list[float]
    seconds: float = field(default=0.0, compare=False)

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {"steps": self.steps, "loss": list(self.loss), "seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Take the state of a checkpoint."""
        self.steps, self.loss, self.seconds = state["steps"], list(state["loss"]), state["seconds"]


def train(
    target: Target,
    data: ImageSet,
    settings: TrainingSettings,
    rng: torch.Generator,
    *,
    precision: torch.dtype = torch.float32,
    outliers: Outliers | None = None,
    loss: nn.Module | None = None,
    after_step: Callable[[int], None] | None = None,
    state: dict[str, Stateful] | None = None,
    checkpoint: Path | None = None,
    identity: str = "",
) -> History:
    """Train a target in place.

    Args:
        target: The classifier; with ``outliers`` and no ``loss`` it has a garbage class.
        data: Training images with labels in [0, classes).
        settings: How to train.
        rng: Source of batches, shifts and dropout.
        precision: float32, or bfloat16 for autocast.
        outliers: Images of no class, fresh in every step.
        loss: ``loss(logits, features, labels) -> Tensor`` with outliers labelled below 0; its parameters are trained
            along. None: the weighted cross-entropy, with outliers in the garbage class.
        after_step: Called with the number of steps done.
        state: Further objects that a resumed training needs as they were.
        checkpoint: File that is written after every epoch; where it exists, the training goes on from it.
        identity: Names everything else that the training depends on: a checkpoint with another identity is refused.

    Raises:
        SettingError: The labels do not fit the target, or there are fewer images than a batch needs.
        RunFolderError: The checkpoint is of a training that began otherwise.
    """
    if len(data) < 2 or int(data.labels.min()) < 0 or int(data.labels.max()) >= target.classes:
        raise SettingError(
            f"{data.name}: {len(data)} images with labels up to {data.classes - 1}; "
            f"expected at least 2 images with labels 0 to {target.classes - 1}"
        )
    # A loss may hold a layer of the target: every parameter once.
    parameters = nn.ModuleList([target] if loss is None else [target, loss]).parameters()
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    total = settings.epochs * settings.steps_per_epoch(len(data))
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=total)
    history = History(0, [])
    parts: dict[str, Stateful] = {"target": target, "optimizer": optimizer, "scheduler": scheduler, "history": history}
    if loss is not None:
        parts["loss"] = loss
    parts |= state or {}
    file = None
    if checkpoint is not None:
        file = Checkpoint(checkpoint, _beginning(target, data, settings, rng, precision, identity), "training")
    done = 0 if file is None else _resume(file, parts, rng)
    for epoch in progress(range(done, settings.epochs), total=settings.epochs - done, label="training"):
        start = time.perf_counter()
        target.train()
        with seed_torch(rng):
            losses = []
            for images, labels in _batches(data, settings, rng, target.device):
                step_loss = _step(target, images, labels, settings, precision, outliers, loss)
                optimizer.zero_grad(set_to_none=True)
                step_loss.backward()
                optimizer.step()
                scheduler.step()
                losses.append(step_loss.detach())
                history.steps += 1
                if after_step:
                    after_step(history.steps)
        history.loss.append(float(torch.stack(losses).mean()))
        history.seconds += time.perf_counter() - start
        if file is not None:
            saved: dict[str, Any] = {"epoch": epoch + 1, "rng": rng.get_state()}
            for name, part in parts.items():
                saved[name] = part.state_dict()
            file.save(saved)
    target.eval()
    return history


def accuracy(predictions: Tensor, labels: Tensor) -> float:
    """Return the share of images with the right prediction; a garbage prediction counts as an error."""
    return float((predictions == labels).double().mean())


def chance_limit(classes: int, n: int, *, spreads: float) -> float:
    """Return the accuracy of guessing among the classes on n images, plus so many standard deviations."""
    chance = 1 / classes
    return chance + spreads * (chance * (1 - chance) / n) ** 0.5


def _step(
    target: Target,
    images: Tensor,
    labels: Tensor,
    settings: TrainingSettings,
    precision: torch.dtype,
    outliers: Outliers | None,
    loss: nn.Module | None,
) -> Tensor:
    n = len(images)
    if outliers:
        outlier_images = outliers.draw(max(1, round(outliers.per_image * n)), images, labels)
        images = torch.cat([images, outlier_images])
        labels = torch.cat([labels, labels.new_full((len(outlier_images),), -1)])
    if loss is not None:
        with autocast(target.device, precision), target.layers.recorded(target.module) as recorded:
            logits = target(images)
        return loss(logits.float(), recorded[target.layers.head].float(), labels)
    with autocast(target.device, precision):
        logits = target(images)
    losses = functional.cross_entropy(
        logits.float(),
        labels.where(labels >= 0, target.classes),
        reduction="none",
        label_smoothing=settings.label_smoothing,
    )
    # Weighted cross-entropy, divided by the number of ID images: garbage adds to the loss and does not dilute it.
    garbage_weight = outliers.weight if outliers else 0.0
    return (losses[:n].sum() + garbage_weight * losses[n:].sum()) / n


def _batches(
    data: ImageSet, settings: TrainingSettings, rng: torch.Generator, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    order = torch.randperm(len(data), generator=rng)
    # One image alone joins the batch before: batch norm has nothing to normalise it by.
    last = settings.steps_per_epoch(len(data)) - 1
    ends = list(range(settings.batch_size, settings.batch_size * last + 1, settings.batch_size))
    for index in order.tensor_split(ends):
        images = data.floats(index)
        if settings.shift:
            images = shifted(images, settings.shift, rng)
        if settings.flip:
            images = flipped(images, rng)
        yield images.to(device), data.labels[index].to(device)


def shifted(images: Tensor, limit: int, rng: torch.Generator) -> Tensor:
    """Return images (N, C, H, W) moved by up to ``limit`` pixels each way, the border repeated."""
    n, _, height, width = images.shape
    padded = functional.pad(images, (limit,) * 4, mode="replicate")
    top, left = torch.randint(2 * limit + 1, (2, n, 1), generator=rng)
    rows = (top + torch.arange(height))[:, None, :, None]
    columns = (left + torch.arange(width))[:, None, None, :]
    return padded[torch.arange(n)[:, None, None, None], torch.arange(images.shape[1])[:, None, None], rows, columns]


def flipped(images: Tensor, rng: torch.Generator) -> Tensor:
    """Return images (N, C, H, W), of which a random half is mirrored left and right."""
    is_mirrored = torch.randint(2, (len(images), 1, 1, 1), generator=rng) == 1
    return images.flip(3).where(is_mirrored, images)


def _beginning(
    target: Target,
    data: ImageSet,
    settings: TrainingSettings,
    rng: torch.Generator,
    precision: torch.dtype,
    identity: str,
) -> str:
    """Return the identity of everything a training begins with: only the same beginning continues a checkpoint."""
    rng_state = rng.get_state().numpy().tobytes()
    return content_hash(settings.model_dump_json(), target.hash, data.hash, str(precision), rng_state, identity)


def _resume(file: Checkpoint, parts: dict[str, Stateful], rng: torch.Generator) -> int:
    """Give the parts and the generator the state of a checkpoint, if there is one; return the number of epochs done."""
    saved = file.load()
    if saved is None:
        return 0
    if set(saved) != {"epoch", "rng", *parts}:
        raise file.refusal()
    for name, part in parts.items():
        part.load_state_dict(saved[name])
    rng.set_state(saved["rng"])
    return saved["epoch"]
